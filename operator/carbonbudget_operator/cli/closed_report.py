"""`carbonbudget report close, list, show, verify, export, reopen`: stored reports that do not change."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from carbonbudget_operator.cli.answer_source import JsonObject
from carbonbudget_operator.cli.answer_source_options import SourceOptions, exit_without_answer, with_source_options
from carbonbudget_operator.cli.common_options import OutputFormat, announce, fail
from carbonbudget_operator.cli.covered_span import date_of
from carbonbudget_operator.cli.output_files import written_whole
from carbonbudget_operator.cli.report_numbers import coverage_lines
from carbonbudget_operator.cli.report_output import (
    HourlyFactors,
    HourlyZones,
    ReportFormat,
    print_report,
    span_of,
    write_numbers,
)
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.csv_text import csv_cells

Period = Annotated[str, typer.Argument(help="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15 (UTC).")]
_MAX_REASON = 500
_LIST_COLUMNS = ("period", "closed_at", "sha256", "reopened_at", "reason")


@with_source_options
def close(
    where: SourceOptions,
    period: Period,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Also if reports end before the period.")] = False,
) -> None:
    """Keep a period's report as it is now, with its hash. Later differences show as a restatement."""
    span_of(period)
    with exit_without_answer():
        closed = where.source().close(period, incomplete)
    if where.local:
        announce(where.settings().source, None, where.config is None)
    for line in coverage_lines(_parsed(closed.text, period)):
        print(printable_cell(line), file=sys.stderr)
    print(f"{period} is closed: sha256 {printable_cell(closed.digest)}")


@with_source_options
def closures(
    where: SourceOptions,
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="table, json or csv.")] = OutputFormat.TABLE,
) -> None:
    """List the closed reports and the closures that were undone. Each with its time of closing and its hash."""
    with exit_without_answer():
        found = where.source().closures()
    if output is OutputFormat.JSON:
        print(json.dumps(found, indent=2))
        return
    items = sorted([*found["items"], *found["reopened"]], key=lambda one: (one["period"], one["closed_at"]))
    if not found["items"]:
        print("no report is closed: `carbonbudget report close PERIOD` closes one", file=sys.stderr)
    if output is OutputFormat.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_LIST_COLUMNS)
        writer.writerows(csv_cells(one.get(column, "") for column in _LIST_COLUMNS) for one in items)
        return
    for one in items:
        line = f"{one['period']}  {date_of(int(one['closed_at']))}  {one['sha256']}"
        if "reopened_at" in one:
            line += f"  reopened on {date_of(int(one['reopened_at']))}, reason: {one['reason']}"
        print(printable_cell(line))


@with_source_options
def show(
    where: SourceOptions,
    period: Period,
    output: Annotated[
        ReportFormat, typer.Option("--output", "-o", help="table, json, csv or html.")
    ] = ReportFormat.TABLE,
    hourly_factors: HourlyFactors = None,
    hourly_zones: HourlyZones = None,
) -> None:
    """Print a closed report as it was closed. What the ledger holds now plays no part."""
    span_of(period)
    with exit_without_answer():
        found = where.source().closed(period)
    if output is ReportFormat.TABLE:
        print(f"{period} as closed on {date_of(found.closed_at)}, sha256 {printable_cell(found.digest)}")
    report = _parsed(found.text, period)
    print_report(report, output, closed_sha256=found.digest, period=period)
    write_numbers(report, hourly_factors, hourly_zones)


@with_source_options
def verify(
    where: SourceOptions,
    period: Period,
    file: Annotated[Path | None, typer.Option(help="Compare an exported file, byte by byte.")] = None,
) -> None:
    """Check a closed report against its hash. Exit code 1 if they differ."""
    span_of(period)
    given = None
    if file is not None:
        try:
            given = _digest(file.read_bytes())
        except OSError as error:
            fail(f"{file} cannot be read: {error.strerror}", code=2)
    with exit_without_answer():
        source = where.source()
        if file is not None and given is not None:
            _refuse_reopened(source.closures(), period, file, given)
        found = source.closed(period)
    if _digest(found.text.encode()) != found.digest:
        fail(f"the report of {period} in the ledger is not the one that was closed: its sha256 is not {found.digest}")
    if given is not None and given != found.digest:
        fail(f"{file} is not the report of {period} that was closed: sha256 {given}, closed with {found.digest}")
    what = "the report in the ledger matches" if file is None else f"{file} and the report in the ledger match"
    print(printable_cell(f"{period}: {what} sha256 {found.digest}, closed on {date_of(found.closed_at)}"))


@with_source_options
def export(
    where: SourceOptions,
    period: Period,
    file: Annotated[Path, typer.Argument(help="Where to write the bytes that the hash covers; must not exist.")],
) -> None:
    """Write the text that was hashed. `sha256sum FILE` prints the same hash."""
    span_of(period)
    with exit_without_answer():
        found = where.source().closed(period)
    with written_whole(file) as partial:
        partial.write_bytes(found.text.encode())
    print(printable_cell(f"{file}: sha256 {found.digest}"))


@with_source_options
def reopen(
    where: SourceOptions,
    period: Period,
    reason: Annotated[str, typer.Option(help="Why: it stays on record with the closed report.")],
) -> None:
    """Undo a closure before anyone relies on it. What was closed, when it was undone and why stay on record."""
    span_of(period)
    if not reason.strip() or len(reason) > _MAX_REASON:
        fail(f"--reason must say why, in at most {_MAX_REASON} characters", code=2)
    with exit_without_answer():
        found = where.source().reopen(period, reason)
    print(
        f"{period} is open again: the closure of {date_of(found.closed_at)} with sha256 {printable_cell(found.digest)} "
        "stays on record"
    )


def _refuse_reopened(closures: JsonObject, period: str, file: Path, given: str) -> None:
    """End the command where the file is a report whose closure was undone: it is no longer valid."""
    if any(one["period"] == period and one["sha256"] == given for one in closures["items"]):
        return
    undone = next(
        (one for one in reversed(closures["reopened"]) if one["period"] == period and one["sha256"] == given), None
    )
    if undone is not None:
        fail(
            f"{file} is the report of {period} that was closed on {date_of(int(undone['closed_at']))} with sha256 "
            f"{given}. That closure was undone on {date_of(int(undone['reopened_at']))} (reason: {undone['reason']}), "
            "so the file is no longer valid: `carbonbudget report list` shows the closed reports"
        )


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _parsed(text: str, period: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or "total" not in value:
        fail(
            f"the report of {period} in the ledger is damaged: `carbonbudget report verify {period}` compares its hash"
        )
    return value
