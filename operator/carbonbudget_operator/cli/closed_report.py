"""`carbonbudget report close, show, verify, export, reopen`: reports that are kept as they were."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carbonbudget_operator.cli.covers import date_of
from carbonbudget_operator.cli.options import Config, Output, fail
from carbonbudget_operator.cli.report_output import Url, make_report, print_report, span_of
from carbonbudget_operator.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from carbonbudget_operator.ledger.closed import Closed

Period = Annotated[str, typer.Argument(help="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15 (UTC).")]
_MAX_REASON = 500


def close(
    period: Period,
    config: Config = None,
    ledger: Url = None,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Also if reports end before the period.")] = False,
) -> None:
    """Keep a period's report as it is now, with its hash. Later differences show as a restatement."""
    from carbonbudget_operator.ledger.closed import AlreadyClosed, Closed
    from carbonbudget_operator.ledger.closed import close as keep
    from carbonbudget_operator.reporting.restatement import canonical, digest

    settings = load_settings(config, {"server": {"ledger": ledger}})
    span, now = span_of(period), int(time.time())
    if span[1] > now:
        fail(f"{period} has not ended yet")
    engine, reporter = make_report(settings, *span, now)
    made, through = reporter.result(), reporter.data_through
    if not reporter.has_data:
        fail(f"{period} has no data: no node reported anything in that time, so there is nothing to close")
    if through < span[1] and not incomplete:
        fail(
            f"{period} ends at {date_of(span[1])}, and all nodes have reported up to {date_of(through)} only: "
            "wait until agents have caught up, or close it as it is with --incomplete "
            f"(its coverage would be {made['coverage_percent']} %)"
        )
    text = canonical(made)
    try:
        with engine.begin() as connection:
            keep(connection, settings.cluster, Closed(period, now, digest(text), text.decode()))
    except AlreadyClosed:
        former = _closed(engine, settings, period)
        fail(
            f"{period} was closed on {date_of(former.closed_at)} with sha256 {former.digest}: a period is closed once. "
            "A closure by mistake is undone with `carbonbudget report reopen`"
        )
    print(f"{period} is closed: sha256 {digest(text)}")


def show(
    period: Period,
    config: Config = None,
    ledger: Url = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="table, json or csv.")] = Output.TABLE,
) -> None:
    """Print a closed report as it was closed. What the ledger holds now plays no part."""
    found = _closed(*_open(config, ledger), period)
    if output is Output.TABLE:
        print(f"{period} as closed on {date_of(found.closed_at)}, sha256 {found.digest}")
    print_report(json.loads(found.text), output)


def verify(
    period: Period,
    config: Config = None,
    ledger: Url = None,
    file: Annotated[Path | None, typer.Option(help="Compare an exported file, byte by byte.")] = None,
) -> None:
    """Check a closed report against its hash. Exit code 1 if they differ."""
    from carbonbudget_operator.reporting.restatement import digest

    found = _closed(*_open(config, ledger), period)
    if digest(found.text.encode()) != found.digest:
        fail(f"the report of {period} in the ledger is not the one that was closed: its sha256 is not {found.digest}")
    if file is not None:
        try:
            given = digest(file.read_bytes())
        except OSError as error:
            fail(f"{file} cannot be read: {error.strerror}")
        if given != found.digest:
            fail(f"{file} is not the report of {period} that was closed: sha256 {given}, closed with {found.digest}")
    what = "the report in the ledger" if file is None else f"{file} and the report in the ledger"
    print(f"{period}: {what} match sha256 {found.digest}, closed on {date_of(found.closed_at)}")


def export(
    period: Period,
    file: Annotated[Path, typer.Argument(help="Where to write the bytes that the hash covers; must not exist.")],
    config: Config = None,
    ledger: Url = None,
) -> None:
    """Write the text that was hashed. `sha256sum FILE` prints the same hash."""
    found = _closed(*_open(config, ledger), period)
    try:
        with file.open("xb") as target:
            target.write(found.text.encode())
    except FileExistsError:
        fail(f"{file} exists already: give another name")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
    print(f"{file}: sha256 {found.digest}")


def reopen(
    period: Period,
    reason: Annotated[str, typer.Option(help="Why: it stays on record with the closed report.")],
    config: Config = None,
    ledger: Url = None,
) -> None:
    """Undo a closure before anyone relies on it. What was closed, when it was undone and why stay on record."""
    from carbonbudget_operator.ledger.closed import reopen as undo

    if not reason.strip() or len(reason) > _MAX_REASON:
        fail(f"--reason must say why, in at most {_MAX_REASON} characters", code=2)
    engine, settings = _open(config, ledger)
    with engine.begin() as connection:
        found = undo(connection, settings.cluster, period, int(time.time()), reason.strip())
    if found is None:
        fail(f"{period} is not closed")
    print(
        f"{period} is open again: the closure of {date_of(found.closed_at)} with sha256 {found.digest} stays on record"
    )


def compared(engine: Engine, cluster: str, period: str, report: dict[str, Any]) -> dict[str, Any]:
    """Beside today's report of a period: the closed one with what differs, and closures that were undone."""
    from carbonbudget_operator.ledger.closed import find_closed, find_reopened
    from carbonbudget_operator.reporting.restatement import restatement, summary

    with engine.connect() as connection:
        closed, reopened = find_closed(connection, cluster, period), find_reopened(connection, cluster, period)
    found: dict[str, Any] = {}
    if closed is not None:
        before = json.loads(closed.text)
        found["closed"] = {
            "at": closed.closed_at, "sha256": closed.digest, "summary": summary(before, report),
            "restatement": restatement(before, report),
        }  # fmt: skip
    if reopened:
        found["reopened"] = [
            {
                "at": one.reopened_at,
                "closed_at": one.closed.closed_at,
                "sha256": one.closed.digest,
                "reason": one.reason,
            }
            for one in reopened
        ]
    return found


def _open(config: Path | None, ledger: str | None) -> tuple[Engine, Settings]:
    from carbonbudget_operator.ledger.store import LedgerError, open_ledger, require_schema

    settings = load_settings(config, {"server": {"ledger": ledger}})
    try:
        engine = open_ledger(settings.server.ledger)
        require_schema(engine)
    except LedgerError as error:
        fail(str(error))
    return engine, settings


def _closed(engine: Engine, settings: Settings, period: str) -> Closed:
    from carbonbudget_operator.ledger.closed import find_closed

    span_of(period)
    with engine.connect() as connection:
        found = find_closed(connection, settings.cluster, period)
    if found is None:
        fail(f"{period} is not closed: `carbonbudget report close {period}` closes it")
    return found
