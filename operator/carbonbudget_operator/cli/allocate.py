"""`carbonbudget allocate`: who used what, from the ledger itself or from the server."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from carbonbudget_operator.allocation.policy import Idle, Overhead, PolicyError, parse_shared
from carbonbudget_operator.cli.covers import CSV_COVERS, covers_line, csv_covers
from carbonbudget_operator.cli.options import Config, Output, csv_cells, fail, instant, print_table, rounded, shown
from carbonbudget_operator.settings import Settings, load_settings


def allocate(
    start: Annotated[str, typer.Option("--from", help="Start: 2026-11-23 or 2026-11-23T18:00:00Z.")],
    end: Annotated[str, typer.Option("--to", help="End, not included.")],
    config: Config = None,
    ledger: Annotated[
        str | None,
        typer.Option(envvar="CARBONBUDGET_LEDGER", help="SQLAlchemy URL: read the ledger directly."),
    ] = None,
    server_url: Annotated[
        str | None, typer.Option(envvar="CARBONBUDGET_SERVER_URL", help="Ask the server instead.")
    ] = None,
    server_ca: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_SERVER_CA", help="CA of the server's certificate.")
    ] = None,
    server_token_file: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_SERVER_TOKEN_FILE", help="Token for the server.")
    ] = None,
    group_by: Annotated[str, typer.Option(help="Comma-separated: namespace, workload, node, label:KEY.")] = "namespace",
    filter_by: Annotated[str, typer.Option("--filter", help="Comma-separated FIELD=VALUE.")] = "",
    idle: Annotated[
        Idle | None, typer.Option(help="Who bears idle energy.  [default: as configured, byRequest]")
    ] = None,
    overhead: Annotated[
        Overhead | None, typer.Option(help="Who bears overhead.  [default: as configured, proportional]")
    ] = None,
    shared: Annotated[
        list[str] | None,
        typer.Option(help="NAMESPACE=proportional, even, separate or TEAM:WEIGHT,...; can be repeated."),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="table, json or csv.")] = Output.TABLE,
) -> None:
    """Share out the energy and emissions of a span of time. The rows add up to the cluster's total."""
    from carbonbudget_operator.reporting.grouping import GroupingError

    try:
        borne = dict(map(parse_shared, shared or []))
    except PolicyError as error:
        fail(str(error), code=2)
    policy = {"idle": idle, "overhead": overhead, "shared": borne or None}
    settings = load_settings(config, {"server": {"ledger": ledger}, "allocation": policy})
    span = instant(start, "--from"), instant(end, "--to")
    if span[0] >= span[1]:
        fail("--from must be before --to", code=2)
    try:
        if server_url:
            if any(policy.values()):
                fail("--idle, --overhead and --shared need --ledger: the server answers by its own policy", code=2)
            result = _from_server(server_url, server_ca, server_token_file, span, group_by, filter_by)
        else:
            result = _from_ledger(settings, span, group_by, filter_by)
    except GroupingError as error:
        fail(str(error), code=2)
    _print(result, span, output)


def _from_ledger(settings: Settings, span: tuple[int, int], group_by: str, filter_by: str) -> dict[str, object]:
    from carbonbudget_operator.carbon.factors import UnknownZone
    from carbonbudget_operator.ledger.seal import sealed_hours
    from carbonbudget_operator.ledger.store import LedgerError, open_ledger, require_schema, told
    from carbonbudget_operator.reporting.book import Book
    from carbonbudget_operator.reporting.grouping import answer, group, needs_nodes, parse_filter, parse_group_by
    from carbonbudget_operator.reporting.places import check_all_places
    from carbonbudget_operator.reporting.spans import covered

    fields, filters = parse_group_by(group_by), parse_filter(filter_by)
    span = covered(*span)
    try:
        check_all_places(settings.carbon)
        engine = open_ledger(settings.server.ledger)
        require_schema(engine)
        with told(engine), engine.connect() as connection:
            sealed = len(sealed_hours(connection, settings.cluster, *span))
        with told(engine):
            rows = Book(engine, settings).rows(*span, needs_nodes(fields, filters))
            result = answer(group(rows, fields, filters), span)
    except (LedgerError, UnknownZone) as error:
        fail(str(error))
    if sealed:
        note = f"note: {sealed} hours of that time are sealed: they stay as allocated under the policy of their time"
        print(note, file=sys.stderr)
    return result


def _from_server(
    url: str, ca: Path | None, token_file: Path | None, span: tuple[int, int], group_by: str, filter_by: str
) -> dict[str, object]:
    import ssl

    import httpx

    try:
        token = token_file.read_text(encoding="ascii").strip() if token_file else ""
        answer = httpx.get(
            f"{url.rstrip('/')}/v1/allocation",
            params={"from": span[0], "to": span[1], "group_by": group_by, "filter": filter_by},
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=ssl.create_default_context(cafile=str(ca) if ca else None),
            timeout=60,
        )
        value = answer.json()
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"{url} cannot be asked: {error}")
    said = value if isinstance(value, dict) else {}
    if answer.status_code != 200 or not said.keys() >= {"rows", "total"}:
        fail(f"{url} answered {answer.status_code}: {said.get('reason', 'no allocation: is that the server?')}")
    return said


def _print(result: dict[str, object], asked: tuple[int, int], output: Output) -> None:
    rows, total = result["rows"], result["total"]
    assert isinstance(rows, list)
    assert isinstance(total, dict)
    if output is Output.JSON:
        print(json.dumps(result, indent=2))
        return
    keys = list(rows[0]["key"]) if rows else ["namespace"]
    figures = ["energy_kwh", "location_g", "market_g", "embodied_g"]
    table = [[*row["key"].values(), *(row[figure] for figure in figures)] for row in rows]
    if output is Output.CSV:
        writer = csv.writer(sys.stdout)
        said = csv_covers(result)
        writer.writerows(map(csv_cells, [[*keys, *figures, *CSV_COVERS], *([*line, *said] for line in table)]))
        return
    from rich.table import Table

    made = Table(*keys, box=None)
    for heading in ("kWh", "g CO2e location-based", "market-based", "embodied"):
        made.add_column(heading, justify="right")
    for line in [*table, ["total", *[""] * (len(keys) - 1), *(total[figure] for figure in figures)]]:
        made.add_row(*map(shown, line[: len(keys)]), *map(rounded, line[len(keys) :]))
    print_table(made)
    print(covers_line(result, asked))
    for factor in result.get("factors", ()):  # type: ignore[attr-defined] # a list
        print(f"factor: {shown(factor)}")
