"""`carbonbudget report`: the emissions report of a period. Closed reports are in `closed_report`."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from carbonbudget_operator.cli import closed_report
from carbonbudget_operator.cli.options import Config, Output, fail, instant
from carbonbudget_operator.cli.report_output import Url, make_report, print_report, span_of
from carbonbudget_operator.settings import load_settings

app = typer.Typer(help="Report a period's emissions, or close it.", invoke_without_command=True, add_completion=False)
for command in (
    closed_report.close,
    closed_report.show,
    closed_report.verify,
    closed_report.export,
    closed_report.reopen,
):
    app.command()(command)


@app.callback()
def report(
    context: typer.Context,
    period: Annotated[str, typer.Option(help="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15 (UTC).")] = "",
    start: Annotated[str, typer.Option("--from", help="Start, instead of --period: 2026-11-23.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, not included.")] = "",
    config: Config = None,
    ledger: Url = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="table, json or csv.")] = Output.TABLE,
    details: Annotated[
        bool, typer.Option("--details", help="List each value that differs from the closed report.")
    ] = False,
) -> None:
    """Both Scope 2 figures side by side, embodied apart, with coverage, data quality and every factor used."""
    if context.invoked_subcommand is not None:
        return
    from carbonbudget_operator.reporting.restatement import canonical

    settings = load_settings(config, {"server": {"ledger": ledger}})
    if bool(period) == bool(start and end):
        fail("give --period, or --from and --to", code=2)
    span = span_of(period) if period else (instant(start, "--from"), instant(end, "--to"))
    if span[0] >= span[1]:
        fail("--from must be before --to", code=2)
    engine, reporter = make_report(settings, *span, int(time.time()))
    result = json.loads(canonical(reporter.result()))
    if period:
        result |= closed_report.compared(engine, settings.cluster, period, result)
    print_report(result, output, details)
