"""`carbonbudget report`: the emissions report of a period, and closing it for good."""

from __future__ import annotations

import csv
import datetime as dt
import json
import sys
import time
from typing import Annotated, Any

import typer

from carbonbudget_operator.cli.options import Config, Output, csv_cells, fail, instant, print_table, rounded, shown
from carbonbudget_operator.settings import Settings, load_settings

app = typer.Typer(help="Report a period's emissions, or close it.", invoke_without_command=True, add_completion=False)
Url = Annotated[
    str | None, typer.Option("--ledger", envvar="CARBONBUDGET_LEDGER", help="SQLAlchemy URL of the ledger.")
]


@app.callback()
def report(
    context: typer.Context,
    period: Annotated[str, typer.Option(help="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15 (UTC).")] = "",
    start: Annotated[str, typer.Option("--from", help="Start, instead of --period: 2026-11-23.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, not included.")] = "",
    config: Config = None,
    ledger: Url = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="table, json or csv.")] = Output.TABLE,
) -> None:
    """Both Scope 2 figures side by side, embodied apart, with coverage, data quality and every factor used."""
    if context.invoked_subcommand is not None:
        return
    from carbonbudget_operator.ledger.closed import find_closed
    from carbonbudget_operator.reporting.report import canonical, restatement

    settings = load_settings(config, {"server": {"ledger": ledger}})
    if bool(period) == bool(start and end):
        fail("give --period, or --from and --to", code=2)
    span = _span(period) if period else (instant(start, "--from"), instant(end, "--to"))
    if span[0] >= span[1]:
        fail("--from must be before --to", code=2)
    engine, made, _ = _make(settings, *span, int(time.time()))
    result = json.loads(canonical(made))
    if period:
        with engine.connect() as connection:
            closed = find_closed(connection, settings.cluster, period)
        if closed is not None:
            result["closed"] = {
                "at": closed.closed_at,
                "sha256": closed.digest,
                "restatement": restatement(json.loads(closed.text), json.loads(canonical(made))),
            }
    _print(result, output)


@app.command()
def close(
    period: Annotated[str, typer.Argument(help="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15 (UTC).")],
    config: Config = None,
    ledger: Url = None,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Also if reports end before the period.")] = False,
) -> None:
    """Keep a period's report as it is now, with its hash. Later differences show as a restatement."""
    from carbonbudget_operator.ledger.closed import AlreadyClosed, Closed, find_closed
    from carbonbudget_operator.ledger.closed import close as keep
    from carbonbudget_operator.reporting.report import canonical, digest

    settings = load_settings(config, {"server": {"ledger": ledger}})
    span, now = _span(period), int(time.time())
    if span[1] > now:
        fail(f"{period} has not ended yet")
    engine, made, through = _make(settings, *span, now)
    if through < span[1] and not incomplete:
        reach = f"all nodes have reported up to {_date(through)} only" if through else "no node has reported anything"
        fail(
            f"{period} ends at {_date(span[1])}, and {reach}: wait until agents have caught up, or close it as it is"
            f" with --incomplete (its coverage would be {made['coverage_percent']} %)"
        )
    text = canonical(made)
    try:
        with engine.begin() as connection:
            keep(connection, settings.cluster, Closed(period, now, digest(text), text.decode()))
    except AlreadyClosed:
        with engine.connect() as connection:
            former = find_closed(connection, settings.cluster, period)
        assert former is not None
        fail(f"{period} was closed on {_date(former.closed_at)} with sha256 {former.digest}: a period is closed once")
    print(f"{period} is closed: sha256 {digest(text)}")


def _make(settings: Settings, start: int, end: int, now: int) -> tuple[Any, dict[str, object], int]:
    """The ledger's engine, the report, and up to when there is data."""
    from rich.console import Console

    from carbonbudget_operator.carbon.factors import UnknownZone
    from carbonbudget_operator.ledger.store import LedgerError, open_ledger, require_schema, told
    from carbonbudget_operator.reporting.places import check_places
    from carbonbudget_operator.reporting.report import Reporter

    try:
        check_places(settings.carbon)
        engine = open_ledger(settings.server.ledger)
        require_schema(engine)
        reporter = Reporter(engine, settings)
        with told(engine), Console(stderr=True).status("reading") as status:
            for done, hours in reporter.run(start, end, now):
                status.update(f"part {done} of {hours}")
        return engine, reporter.result(), reporter.data_through
    except (LedgerError, UnknownZone) as error:
        fail(str(error))


def _span(period: str) -> tuple[int, int]:
    from carbonbudget_operator.reporting.spans import SpanError, parse_span

    try:
        return parse_span(period)
    except SpanError as error:
        fail(str(error), code=2)


def _print(result: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(result, indent=2))
        return
    rows = [("total", result["total"]), *result["scopes"].items(), *result["namespaces"].items()]
    columns = ["it_energy_kwh", "facility_energy_kwh", "location_g", "market_g", "embodied_g", "measured_percent"]
    all_columns = [*columns, "embodied_low_g", "embodied_high_g"]
    if output is Output.CSV:
        writer = csv.writer(sys.stdout)
        kinds = ["total"] + ["scope"] * len(result["scopes"]) + ["namespace"] * len(result["namespaces"])
        writer.writerow(["kind", "name", *all_columns])
        writer.writerows(
            csv_cells([kind, name, *(f[c] for c in all_columns)]) for kind, (name, f) in zip(kinds, rows, strict=True)
        )
        return
    from rich.table import Table

    print(f"{result['cluster']}, {_date(result['from'])} to {_date(result['to'])}, {result['basis']} factors")
    table = Table("", box=None)
    for heading in ("IT kWh", "facility kWh", "location-based g", "market-based g", "embodied g", "measured %"):
        table.add_column(heading, justify="right")
    for name, figures in rows:
        table.add_row(shown(name), *(rounded(figures[column]) for column in columns))
    print_table(table)
    low, high = (rounded(result["total"][key]) for key in ("embodied_low_g", "embodied_high_g"))
    print(f"embodied: {low} to {high} g by other sources' figures")
    for line in result["energy"]:
        kwh, low, high = (rounded(line[key]) for key in ("kwh", "low_kwh", "high_kwh"))
        print(f"{line['domain']} by {line['method']}: {kwh} kWh ({low} to {high})")
    print(f"coverage {result['coverage_percent']} % of the nodes' time")
    if silent := result["nodes_without_reports"]:
        more = f" and {len(silent) - 10} more" if len(silent) > 10 else ""
        print(f"no report ever came from {shown(', '.join(silent[:10]))}{more}: does an agent run there?")
    for factor in result["factors"]:
        print(f"factor: {shown(factor)}")
    if "closed" in result:
        closed = result["closed"]
        print(f"closed on {_date(closed['at'])}, sha256 {closed['sha256']}")
        for line in closed["restatement"] or ["nothing differs from it"]:
            print(f"restatement: {shown(line)}")


def _date(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
