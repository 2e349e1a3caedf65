"""The server process itself exports, beside all else that it does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from aiohttp import web
from tests.databases import make_tables
from tests.exports.exporting import HOUR, allocated, by_workload, fill, full_hour_ago, settings_of, upkeep
from tests.exports.receivers import InfluxServer
from tests.prometheus import free_port
from tests.serving import serving

from carbonbudget_operator.ledger.ledger_engine import open_ledger


async def nobody(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


async def test_a_started_server_sends_the_hours_that_its_target_lacks(influx: InfluxServer, tmp_path: Path) -> None:
    influx.ask("CREATE DATABASE served", "")
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    first = full_hour_ago(4)
    target = {"name": "history", "kind": "influx", "url": influx.url, "database": "served"}
    settings = settings_of(target)
    fill(engine, first, 2)
    upkeep(engine, settings, first + 3 * HOUR)
    own = allocated(engine, settings, first, first + 2 * HOUR)
    engine.dispose()
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"carbon": {"zone": "DE", "pue": 1.2}, "exports": [target]}))
    found: dict[tuple[str, str], int] = {}
    wanted = {key: group.energy_uj for key, group in own.items()}
    async with serving(tmp_path, url, nobody, port=free_port(), config=config), asyncio.timeout(60):
        while found != wanted:
            await asyncio.sleep(0.2)
            found = by_workload(influx.ask("SELECT * FROM carbonbudget_energy", "served"), "microjoules")
