"""`carbonbudget when`: the cleanest start of a Job that still ends by a deadline, by the server's forecast."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import FINISH_BY_ANNOTATION
from carbonbudget_operator.cli.answer_source import AnswerSourceError
from carbonbudget_operator.cli.answer_source_options import SourceOptions, exit_on_unknown_answer, with_source_options
from carbonbudget_operator.cli.common_options import check_namespace, fail, instant
from carbonbudget_operator.cli.manifest_files import manifests_of
from carbonbudget_operator.cli.manifests import ManifestError, ManifestObject, to_try
from carbonbudget_operator.cli.service_account import ServiceAccount
from carbonbudget_operator.cli.table_cells import printable_cell

if TYPE_CHECKING:
    from carbonbudget_operator.cli.answers_from_server import ServerSource
    from carbonbudget_operator.cli.when_answer import StartAdvice
    from carbonbudget_operator.enforcement.deferral_forecast import DeferralForecast

_LATEST: Final = 32_503_680_000  # the year 3000
_LONGEST_S: Final = 366 * 86_400
_MOST_MIB: Final = 1


class WhenFormat(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    JSON = "json"


class _Asked(NamedTuple):
    """The forecast of these zones, where it is from, and why no grams can be expected; empty where they can."""

    forecast: DeferralForecast
    source: str
    without_grams: str


@with_source_options
def when(
    where: SourceOptions,
    file: Annotated[str, typer.Option("--filename", "-f", help="Manifest of a Job or CronJob, or - for stdin.")],
    finish_by: Annotated[
        str,
        typer.Option(
            help="When it must have ended: 2026-12-01T08:00, UTC without a zone.  [default: its annotation finish-by]"
        ),
    ] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.  [default: the manifest's]")] = "",
    duration: Annotated[
        str, typer.Option(help="How long it runs: 2h30m.  [default: its annotation expected-duration, or former runs]")
    ] = "",
    zone: Annotated[str, typer.Option(help="Grid zone, for example DE.  [default: all zones of the nodes]")] = "",
    table: Annotated[bool, typer.Option("--table", help="Show each hour's start too.")] = False,
    service_account: ServiceAccount = "",
    output: Annotated[WhenFormat, typer.Option("--output", "-o", help="text or json.")] = WhenFormat.TEXT,
) -> None:
    """Show the cleanest start of a Job that still ends in time.

    Nothing is created. Location-based operational emissions are compared. Exit code 0: there is an answer. 1: the
    server gives none. 2: a bad option or manifest.
    """
    from carbonbudget_operator.budgets.workload_demand import duration_s, no_duration
    from carbonbudget_operator.cli.when_answer import advice

    now = int(time.time())
    stated_s = duration_s(duration) if duration else 0
    if duration and not stated_s:
        fail(no_duration("--duration", duration), code=2)
    if namespace:
        check_namespace("--namespace", namespace)
    job = _job(file)
    deadline = _deadline(job, finish_by, now)
    if namespace and job.namespace and job.namespace != namespace:
        fail(f"{job.title} is of namespace {job.namespace}, not {namespace}: leave --namespace out", code=2)
    namespace = namespace or job.namespace or "default"
    asked = _ask(where.server(service_account), zone, now, namespace)
    try:
        found = advice(job, namespace, asked.forecast, now, deadline, stated_s or 0)
    except ValueError as error:
        fail(f"{job.title}: {error}", code=2)
    if found.duration_s > _LONGEST_S:
        fail(f"{job.title} lasts longer than a year: write a shorter duration", code=2)
    notes = [*found.notes, *([asked.without_grams] if asked.without_grams else [])]
    if asked.source:
        notes.append(f"hours to come are expected by: {asked.source}")
    if not zone:
        zones = asked.forecast.hours.zones
        what = f"of grid zone {zones[0]}" if len(zones) == 1 else f"the mean of grid zones {', '.join(zones)}"
        notes.append(f"the forecast is {what}, where the nodes are; --zone names another")
    _print(replace(found, notes=tuple(notes)), output, table)


def _deadline(job: ManifestObject, finish_by: str, now: int) -> int:
    """By the option, else by the Job's annotation, read as the controller reads it (UTC seconds)."""
    from carbonbudget_operator.enforcement.deferral_record import stated_instant

    where, text = "--finish-by", finish_by
    if not finish_by:
        annotation = at(job.metadata, "annotations").get(FINISH_BY_ANNOTATION)
        where, text = f"{job.title}: {FINISH_BY_ANNOTATION}", annotation if isinstance(annotation, str) else ""
        if text and not stated_instant(text):
            fail(f"{where} is {text!r}, which is no instant with a zone: write e.g. 2026-12-01T08:00:00Z", code=2)
    if not text:
        fail(f"{job.title} states no deadline: give --finish-by, or its annotation {FINISH_BY_ANNOTATION}", code=2)
    deadline = instant(text, where)
    if deadline <= now:
        fail(f"{where} must be after now, not {text!r}", code=2)
    if deadline >= _LATEST:
        fail(f"{where} must be before the year 3000, not {text!r}", code=2)
    return deadline


def _job(file: str) -> ManifestObject:
    """The one Job of the manifest; of a CronJob, a Job such as it makes."""
    try:
        entries = manifests_of(file, _MOST_MIB, "name a manifest of the Job alone")
    except ManifestError as error:
        fail(str(error), code=2)
    jobs = [entry for entry in to_try(entries)[0] if entry.kind == "Job" and entry.api_version == "batch/v1"]
    if len(jobs) != 1:
        held = f"{len(jobs)} Jobs" if jobs else "no Job"
        fail(f"{file} holds {held}: name a manifest of one Job or CronJob, since a start is chosen for one", code=2)
    return jobs[0]


def _ask(source: ServerSource, zone: str, now: int, namespace: str) -> _Asked:
    from carbonbudget_operator.api.grid_bodies import IntensityRow
    from carbonbudget_operator.api.projection_bodies import ProjectionAnswer
    from carbonbudget_operator.api.times import format_time
    from carbonbudget_operator.cleaner_hours.forecast_parts import forecast_words
    from carbonbudget_operator.enforcement import job_fields
    from carbonbudget_operator.enforcement.deferral_forecast import FORECAST_SECONDS, FORMER_SECONDS, forecast_of

    try:
        with exit_on_unknown_answer():
            answer = source.intensity((now - FORMER_SECONDS, now + FORECAST_SECONDS), zone)
            rows = [IntensityRow.model_validate(row) for row in answer["rows"]]
    except AnswerSourceError as error:
        fail(str(error), error.code)
    projection, reason = None, ""
    try:
        with exit_on_unknown_answer():
            projection = ProjectionAnswer.model_validate(source.projection())
    except AnswerSourceError as error:
        reason = f"grams are not known, starts are compared by the forecast alone: {error}"
    forecast = forecast_of(rows, projection, now, {namespace})
    if forecast is None:
        fail("the server has no forecast: it knows no grid zone of the nodes yet; --zone names one, for example DE")
    coming = ((job_fields.instant(row.start), row.source) for row in rows if row.kind == "forecast")
    return _Asked(forecast, forecast_words(coming, format_time), reason)


def _print(found: StartAdvice, output: WhenFormat, table: bool) -> None:
    if output is WhenFormat.JSON:
        print(json.dumps(found.as_json(), indent=2))
        return
    for line in found.lines():
        print(printable_cell(line))
    if table:
        for line in found.table():
            print(printable_cell(line))
    for note in found.notes:
        print(f"note: {printable_cell(note)}", file=sys.stderr)
