"""`carbonbudget report close, list, show, verify, export, reopen`: reports that are kept as they were."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from carbonbudget_operator.cli.covers import date_of
from carbonbudget_operator.cli.files import written_whole
from carbonbudget_operator.cli.options import Output, announce, fail, shown
from carbonbudget_operator.cli.report_output import print_report, span_of
from carbonbudget_operator.cli.where import Where, answered, somewhere

Period = Annotated[str, typer.Argument(help="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15 (UTC).")]
_MAX_REASON = 500


@somewhere
def close(
    where: Where,
    period: Period,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Also if reports end before the period.")] = False,
) -> None:
    """Keep a period's report as it is now, with its hash. Later differences show as a restatement."""
    span_of(period)
    with answered():
        closed = where.source().close(period, incomplete)
    if where.local:
        announce(where.settings().source, None, where.config is None)
    print(f"{period} is closed: sha256 {shown(closed.digest)}")


@somewhere
def closures(
    where: Where,
    output: Annotated[Output, typer.Option("--output", "-o", help="table, json or csv.")] = Output.TABLE,
) -> None:
    """List the closed reports. Each with its time of closing and its hash."""
    with answered():
        found = where.source().closures()
    if output is Output.JSON:
        print(json.dumps({"items": found}, indent=2))
        return
    if not found:
        print("no report is closed: `carbonbudget report close PERIOD` closes one", file=sys.stderr)
    separator = "," if output is Output.CSV else "  "
    if output is Output.CSV:
        print("period,closed_at,sha256")
    for one in found:
        at = one["closed_at"] if output is Output.CSV else date_of(int(one["closed_at"]))
        print(separator.join(shown(cell) for cell in (one["period"], at, one["sha256"])))


@somewhere
def show(
    where: Where,
    period: Period,
    output: Annotated[Output, typer.Option("--output", "-o", help="table, json or csv.")] = Output.TABLE,
) -> None:
    """Print a closed report as it was closed. What the ledger holds now plays no part."""
    span_of(period)
    with answered():
        found = where.source().closed(period)
    if output is Output.TABLE:
        print(f"{period} as closed on {date_of(found.closed_at)}, sha256 {shown(found.digest)}")
    print_report(_parsed(found.text, period), output, closed_sha256=found.digest)


@somewhere
def verify(
    where: Where,
    period: Period,
    file: Annotated[Path | None, typer.Option(help="Compare an exported file, byte by byte.")] = None,
) -> None:
    """Check a closed report against its hash. Exit code 1 if they differ."""
    span_of(period)
    with answered():
        found = where.source().closed(period)
    if _digest(found.text.encode()) != found.digest:
        fail(f"the report of {period} in the ledger is not the one that was closed: its sha256 is not {found.digest}")
    if file is not None:
        try:
            given = _digest(file.read_bytes())
        except OSError as error:
            fail(f"{file} cannot be read: {error.strerror}", code=2)
        if given != found.digest:
            fail(f"{file} is not the report of {period} that was closed: sha256 {given}, closed with {found.digest}")
    what = "the report in the ledger" if file is None else f"{file} and the report in the ledger"
    print(shown(f"{period}: {what} match sha256 {found.digest}, closed on {date_of(found.closed_at)}"))


@somewhere
def export(
    where: Where,
    period: Period,
    file: Annotated[Path, typer.Argument(help="Where to write the bytes that the hash covers; must not exist.")],
) -> None:
    """Write the text that was hashed. `sha256sum FILE` prints the same hash."""
    span_of(period)
    with answered():
        found = where.source().closed(period)
    with written_whole(file) as partial:
        partial.write_bytes(found.text.encode())
    print(shown(f"{file}: sha256 {found.digest}"))


@somewhere
def reopen(
    where: Where,
    period: Period,
    reason: Annotated[str, typer.Option(help="Why: it stays on record with the closed report.")],
) -> None:
    """Undo a closure before anyone relies on it. What was closed, when it was undone and why stay on record."""
    span_of(period)
    if not reason.strip() or len(reason) > _MAX_REASON:
        fail(f"--reason must say why, in at most {_MAX_REASON} characters", code=2)
    with answered():
        found = where.source().reopen(period, reason)
    print(
        f"{period} is open again: the closure of {date_of(found.closed_at)} with sha256 {shown(found.digest)} "
        "stays on record"
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
