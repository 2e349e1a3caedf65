"""`carbonbudget factors`: which figures apply to which node, and why."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from carbonbudget_operator.cli.common_options import Config, OutputFormat, announce, code_of, fail
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.csv_text import csv_cells
from carbonbudget_operator.settings import load_settings


def factors(
    config: Config = None,
    ledger: Annotated[
        str | None, typer.Option(envvar="CARBONBUDGET_LEDGER", help="SQLAlchemy URL of the ledger.")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Ask the hourly sources now.")] = False,
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="table, json or csv.")] = OutputFormat.TABLE,
) -> None:
    """List the factors that apply to each node and their sources.

    Grid zone, intensity, PUE, market factor and embodied figures.
    """
    from prometheus_client import CollectorRegistry

    from carbonbudget_operator.carbon.grid_factors import WORLD, UnknownZone
    from carbonbudget_operator.carbon.intensity_text import g_per_kwh
    from carbonbudget_operator.cli.fetch_summary import fetched_lines, forecast_lines
    from carbonbudget_operator.intensity_settings import StaticSourceSettings, milligrams
    from carbonbudget_operator.ledger.clusters import require_cluster
    from carbonbudget_operator.ledger.fact_reader import data_through, node_spans, read_nodes
    from carbonbudget_operator.ledger.intensity_store import polls
    from carbonbudget_operator.ledger.ledger_engine import LedgerError, ledger_errors, open_ledger
    from carbonbudget_operator.ledger.schema_migration import require_schema
    from carbonbudget_operator.valuation.forecast_poller import FetchedForecast, fetch_now
    from carbonbudget_operator.valuation.grid_hours import Fetched
    from carbonbudget_operator.valuation.node_factors import check_all_places
    from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

    settings, now = load_settings(config, {"server": {"ledger": ledger}}), int(time.time())
    try:
        check_all_places(settings.carbon)
        engine = open_ledger(settings.server.ledger, may_be_standby=not fetch)
        require_schema(engine)
        fetched: list[Fetched] = []
        forecasts: list[FetchedForecast] = []
        with ledger_errors(engine):
            require_cluster(engine, settings.cluster)
        if fetch:
            with ledger_errors(engine):
                fetched, forecasts = asyncio.run(fetch_now(engine, settings, CollectorRegistry(), now))
        book = ValuedReader(engine, settings)
        with ledger_errors(engine), engine.connect() as connection:
            nodes = sorted(read_nodes(connection, settings.cluster).values(), key=lambda node: node.name)
            hours = book.grid(connection, now - now % 3600)
            states = polls(connection)
            through = data_through(node_spans(connection, settings.cluster))
        engine.dispose()
    except UnknownZone as error:
        fail(str(error), code=2)
    except LedgerError as error:
        fail(str(error), code_of(error))
    places = book.terms.at(now).places
    sources = [
        {
            "source": source.name,
            "zone": poll.zone,
            "last_answer": "never" if not poll.good_at else f"{(now - poll.good_at) // 60} min ago",
            "error": poll.error,
        }
        for source in settings.carbon.at(now).intensity.sources
        if not isinstance(source, StaticSourceSettings)
        for poll in states.values()
        if poll.source == source.name
    ]
    rows = []
    for node in nodes:
        place = places.of(node, now, hours)
        rows.append({
            "node": node.name,
            "region": node.region,
            "zone": place.zone,
            "placed": place.zone != WORLD,
            "location_g_per_kwh": f"{place.mg_per_kwh / 1000:g}",
            "market_g_per_kwh": f"{place.market.mg_per_kwh / 1000:g}",
            "pue": f"{place.pue_permille / 1000:g}",
            "basis": place.basis,
            "why": "; ".join([*sorted(place.factors), *sorted(place.market.factors)]),
            "embodied": places.hardware(node).why,
        })  # fmt: skip
    stated = [
        {"source": one.name, "zone": zone, "words": one.words, "g_per_kwh": g_per_kwh(mg)}
        for one in settings.carbon.at(now).intensity.sources
        if isinstance(one, StaticSourceSettings)
        for zone, mg in sorted(milligrams(one.figures).items())
    ]
    announce(settings.source, output, config is None)
    if fetch:
        for line in (*fetched_lines(settings.carbon.at(now), fetched, through, now), *forecast_lines(forecasts)):
            print(printable_cell(line), file=sys.stderr if output is not OutputFormat.TABLE else sys.stdout)
    if output is OutputFormat.JSON:
        print(
            json.dumps(
                {
                    "cluster": settings.cluster,
                    "settings": settings.source,
                    "nodes": rows,
                    "sources": sources,
                    "stated": stated,
                    **({"fetched": [asdict(one) for one in fetched]} if fetch else {}),
                    **({"forecasts": [asdict(one) for one in forecasts]} if fetch else {}),
                },
                indent=2,
            )
        )
    elif output is OutputFormat.CSV:
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else ["node"])
        writer.writeheader()
        writer.writerows(dict(zip(row, csv_cells(row.values()), strict=True)) for row in rows)
    elif not rows:
        print(f"no node of cluster {settings.cluster} has reported yet")
    else:
        for row in rows:
            print(
                printable_cell(
                    f"{row['node']}: zone {row['zone']}, {row['location_g_per_kwh']} g/kWh, PUE {row['pue']}"
                )
            )
            print(f"  {printable_cell(row['why'])}\n  embodied: {printable_cell(row['embodied'])}")
        for one in stated:
            print(
                printable_cell(
                    f"source {one['words']}: {one['g_per_kwh']} g/kWh in zone {one['zone']}, from the settings"
                )
            )
        for state in sources:
            name = f"source {state['source']}, zone {state['zone']}"
            print(
                printable_cell(
                    f"{name}: last answer {state['last_answer']}{state['error'] and ', now: '}{state['error']}"
                )
            )
        unplaced = sum(not row["placed"] for row in rows)
        if unplaced:
            print(f"{unplaced} of {len(rows)} nodes cannot be placed: set carbon.zone, or label them with their region")
