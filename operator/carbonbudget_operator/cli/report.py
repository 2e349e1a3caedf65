"""`carbonbudget report`: the emissions report of a period. Closed reports are in `closed_report`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from carbonbudget_operator.cli import closed_report
from carbonbudget_operator.cli.answer_source_options import (
    SourceOptions,
    exit_without_answer,
    is_typed,
    with_source_options,
)
from carbonbudget_operator.cli.common_options import fail, instant
from carbonbudget_operator.cli.covered_span import future_sentence
from carbonbudget_operator.cli.report_output import (
    HourlyFactors,
    HourlyZones,
    ReportFormat,
    print_report,
    span_of,
    write_numbers,
)

app = typer.Typer(help="Report a period's emissions, or close it.", invoke_without_command=True, add_completion=False)
for name, command in (
    ("close", closed_report.close),
    ("list", closed_report.closures),
    ("show", closed_report.show),
    ("verify", closed_report.verify),
    ("export", closed_report.export),
    ("reopen", closed_report.reopen),
):
    app.command(name)(command)


@app.callback()
@with_source_options
def report(
    where: SourceOptions,
    typer_context: typer.Context,
    period: Annotated[str, typer.Option(help="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15 (UTC).")] = "",
    start: Annotated[str, typer.Option("--from", help="Start, instead of --period: 2026-11-23.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, not included.")] = "",
    output: Annotated[
        ReportFormat, typer.Option("--output", "-o", help="table, json, csv or html.")
    ] = ReportFormat.TABLE,
    details: Annotated[
        bool, typer.Option("--details", help="List each value that differs from the closed report.")
    ] = False,
    hourly_factors: HourlyFactors = None,
    hourly_zones: HourlyZones = None,
    compare: Annotated[bool, typer.Option("--compare", help="Also what changed since the period before.")] = False,
) -> None:
    """Both Scope 2 figures side by side, embodied apart, with coverage, data quality and every factor used."""
    if (below := typer_context.invoked_subcommand) is not None:
        if typed := [name for name in typer_context.params if is_typed(typer_context, name)]:
            fail(f"write options after {below}: options before it do not apply to it ({', '.join(typed)})", code=2)
        return
    if bool(period) == bool(start or end) or bool(start) != bool(end):
        fail("write either --period, or both --from and --to", code=2)
    span = span_of(period) if period else (instant(start, "--from"), instant(end, "--to"))
    if span[0] >= span[1]:
        fail("--from must be before --to", code=2)
    if sentence := future_sentence(span[0], int(time.time())):
        fail(sentence)
    with exit_without_answer():
        result = where.source().report(span, period, compare)
    where.announce(result.get("settings"), output.announced)
    print_report(result, output, details, period=period)
    write_numbers(result, hourly_factors, hourly_zones)
