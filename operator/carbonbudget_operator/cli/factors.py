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

    from carbonbudget_operator.answers.factors_in_force import factors_in_force
    from carbonbudget_operator.carbon.grid_factors import UnknownZone
    from carbonbudget_operator.cli.factor_lines import NODE_COLUMNS, factor_lines, factors_body, node_rows
    from carbonbudget_operator.cli.fetch_summary import fetched_lines, forecast_lines
    from carbonbudget_operator.ledger.clusters import require_cluster
    from carbonbudget_operator.ledger.fact_reader import data_through, node_spans
    from carbonbudget_operator.ledger.ledger_engine import LedgerError, ledger_errors, open_ledger
    from carbonbudget_operator.ledger.schema_migration import require_schema
    from carbonbudget_operator.valuation.forecast_poller import FetchedForecast, fetch_now
    from carbonbudget_operator.valuation.grid_hours import Fetched
    from carbonbudget_operator.valuation.node_factors import check_all_places
    from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

    settings, now = load_settings(config, {"server": {"ledger": ledger}}), int(time.time())
    fetched: list[Fetched] = []
    forecasts: list[FetchedForecast] = []
    try:
        check_all_places(settings.carbon)
        engine = open_ledger(settings.server.ledger, may_be_standby=not fetch)
        require_schema(engine)
        with ledger_errors(engine):
            require_cluster(engine, settings.cluster)
            if fetch:
                fetched, forecasts = asyncio.run(fetch_now(engine, settings, CollectorRegistry(), now))
            found = factors_in_force(ValuedReader(engine, settings), now, named=True)
            with engine.connect() as connection:
                through = data_through(node_spans(connection, settings.cluster))
        engine.dispose()
    except UnknownZone as error:
        fail(str(error), code=2)
    except LedgerError as error:
        fail(str(error), code_of(error))
    announce(settings.source, output, config is None)
    if fetch:
        for line in (*fetched_lines(settings.carbon.at(now), fetched, through, now), *forecast_lines(forecasts)):
            print(printable_cell(line), file=sys.stderr if output is not OutputFormat.TABLE else sys.stdout)
    if output is OutputFormat.JSON:
        body = {"cluster": settings.cluster, "settings": settings.source, **factors_body(found, now)}
        if fetch:
            body |= {"fetched": [asdict(one) for one in fetched], "forecasts": [asdict(one) for one in forecasts]}
        print(json.dumps(body, indent=2))
    elif output is OutputFormat.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(NODE_COLUMNS)
        writer.writerows(csv_cells(row.values()) for row in node_rows(found.nodes))
    else:
        for line in factor_lines(found, settings.cluster, now):
            print(printable_cell(line))
