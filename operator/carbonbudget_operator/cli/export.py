"""`carbonbudget export`: allocations in the file formats of other tools."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from carbonbudget_operator.cli.answer_source import AnswerSource, JsonObject
from carbonbudget_operator.cli.answer_source_options import (
    SourceOptions,
    exit_without_answer,
    with_source_options,
)
from carbonbudget_operator.cli.common_options import announce, fail, instant
from carbonbudget_operator.cli.covered_span import future_sentence
from carbonbudget_operator.cli.output_files import written_whole
from carbonbudget_operator.cli.table_cells import printable_cell

if TYPE_CHECKING:
    from carbonbudget_operator.export_formats.exported_groups import ExportedCluster, ExportedGroup

    Renderer = Callable[[Iterable[ExportedGroup], ExportedCluster], Iterator[str]]


class ExportFormat(StrEnum):
    """What can be written."""

    CSV = "csv"
    FOCUS = "focus"
    INFLUX = "influx"
    OPENMETRICS = "openmetrics"
    CODECARBON = "codecarbon"
    IMPACT_FRAMEWORK = "impact-framework"


class ExportStep(StrEnum):
    """How long each row is. The calendar is UTC's."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    ALL = "all"


_FIGURES: Final = ("energy_uj", "location_ug", "market_ug", "embodied_ug")
_SERIES: Final = (ExportFormat.INFLUX, ExportFormat.OPENMETRICS)


@with_source_options
def export(
    where: SourceOptions,
    form: Annotated[ExportFormat, typer.Option("--format", help="Whose file format.")],
    window: Annotated[str, typer.Option(help="today, yesterday, week, lastweek, month, lastmonth, 7d.")] = "",
    start: Annotated[str, typer.Option("--from", help="Start, instead of --window: 2026-11-23.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, not included.")] = "",
    by: Annotated[str, typer.Option(help="As --group-by of allocate.")] = "namespace,workload",
    step: Annotated[
        ExportStep | None, typer.Option(help="Length of a row.  [default: hour for influx, openmetrics; else day]")
    ] = None,
    currency: Annotated[str, typer.Option(help="Of the costs in FOCUS, which are 0.")] = "USD",
    file: Annotated[Path | None, typer.Option("--output-file", help="A new file; else standard output.")] = None,
) -> None:
    """Write allocations to files of other tools. Their rows add up to `allocate`'s total."""
    from carbonbudget_operator.answers.allocation_groups import GroupingError, parse_group_by
    from carbonbudget_operator.answers.time_ranges import covered_range
    from carbonbudget_operator.answers.window_parser import WindowError, check_window, parse_window, steps_of
    from carbonbudget_operator.export_formats.exported_groups import ExportedCluster, ExportError

    now, chosen = int(time.time()), step or (ExportStep.HOUR if form in _SERIES else ExportStep.DAY)
    if bool(window) == bool(start or end) or bool(start) != bool(end):
        fail("write either --window, or both --from and --to", code=2)
    if not re.fullmatch(r"[A-Z]{3}", currency, re.ASCII):
        fail(f"--currency must be three capitals of ISO 4217 such as USD, not {currency!r}", code=2)
    try:
        fields = tuple(dict.fromkeys(parse_group_by(by)))
        span = parse_window(window, now) if window else (instant(start, "--from"), instant(end, "--to"))
        check_window(span, chosen.value)
    except (GroupingError, WindowError) as error:
        fail(str(error), code=2)
    if sentence := future_sentence(span[0], now):
        fail(sentence)
    steps = [one for one in steps_of(covered_range(*span), chosen.value) if one[0] <= now]
    settings: list[str] = []
    try:
        with exit_without_answer():
            answers = _answers(where.source(), steps, fields)
            first = next(answers)  # it names the cluster, before anything is written
            cluster = ExportedCluster(str(first.get("cluster") or "default"), fields, currency)
            _write(_renderer(form)(_rows(chain([first], answers), fields, settings), cluster), file)
    except ExportError as error:
        fail(str(error))
    for line in dict.fromkeys(settings):
        announce(line, None, where.local and not where.config)
    if file is not None:
        print(f"{printable_cell(str(file))}: {form.value} by {chosen.value}", file=sys.stderr)


@contextmanager
def _exit_on_another_form() -> Iterator[None]:
    """An answer of a server of another version ends the process with one line."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError):
        fail("the server's answer has another form than this version exports: are versions mixed?")


def _answers(source: AnswerSource, steps: Iterable[tuple[int, int]], fields: Sequence[str]) -> Iterator[JsonObject]:
    """The allocation of each step, asked for when it is needed."""
    for step in steps:
        answer = source.allocation(step, ",".join(fields), "")
        with _exit_on_another_form():
            if (answer["covers"]["from"], answer["covers"]["to"]) != step:
                raise ValueError("another span than asked for")
        yield answer


def _rows(answers: Iterable[JsonObject], fields: Sequence[str], settings: list[str]) -> Iterator[ExportedGroup]:
    """The groups of each answer, of which one is in memory at a time. Adds to `settings` what each answer names."""
    for answer in answers:
        settings.append(str(answer.get("settings") or "of a server that does not name them"))
        with _exit_on_another_form():
            made = [_group(answer, row, fields) for row in answer["rows"]]
        yield from made


def _group(answer: JsonObject, row: JsonObject, fields: Sequence[str]) -> ExportedGroup:
    from carbonbudget_operator.export_formats.exported_groups import ExportedGroup

    energy, location, market, embodied = (int(row[figure]) for figure in _FIGURES)
    return ExportedGroup(
        answer["covers"]["from"], answer["covers"]["to"], {field: str(row["key"][field]) for field in fields},
        energy, location, market, embodied, int(row["measured_percent"]),
        [str(answer["factors"][place]) for place in row["factors"]],
    )  # fmt: skip


def _renderer(form: ExportFormat) -> Renderer:
    """Imported here: `--help` should not wait for them."""
    from carbonbudget_operator.export_formats.codecarbon_export import codecarbon_export
    from carbonbudget_operator.export_formats.csv_export import csv_export
    from carbonbudget_operator.export_formats.focus_export import focus_export
    from carbonbudget_operator.export_formats.impact_framework_export import impact_framework_export
    from carbonbudget_operator.export_formats.influx_export import influx_export
    from carbonbudget_operator.export_formats.openmetrics_export import openmetrics_export

    renderers: dict[ExportFormat, Renderer] = {
        ExportFormat.CSV: csv_export, ExportFormat.FOCUS: focus_export, ExportFormat.INFLUX: influx_export,
        ExportFormat.OPENMETRICS: openmetrics_export, ExportFormat.CODECARBON: codecarbon_export,
        ExportFormat.IMPACT_FRAMEWORK: impact_framework_export,
    }  # fmt: skip
    return renderers[form]


def _write(pieces: Iterable[str], file: Path | None) -> None:
    """All of it or nothing, also to standard output: another command may read that."""

    def into(stream: IO[Any]) -> None:
        for piece in pieces:
            stream.write(piece)

    form: dict[str, Any] = {"encoding": "utf-8", "newline": "", "errors": "replace"}
    if file is not None:
        with written_whole(file) as partial, partial.open("w", **form) as stream:
            into(stream)
        return
    with tempfile.TemporaryFile("w+", **form) as stream:
        into(stream)
        stream.seek(0)
        shutil.copyfileobj(stream, sys.stdout)
