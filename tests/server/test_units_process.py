"""The server process itself counts units, beside all else that it does."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from aiohttp import web
from tests.databases import make_tables
from tests.prometheus import free_port
from tests.server.stored_metrics import full_hour_ago, prometheus_with, scraped
from tests.serving import serving

from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.unit_store import UnitStore, WantedCounter, read_units
from carbonbudget_operator.units.counter_expression import CounterExpression

HOUR = 3600
TOKENS = CounterExpression("vllm:generation_tokens_total")


async def nobody(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


async def test_a_started_server_counts_the_hours_that_a_target_wants(tmp_path: Path) -> None:
    first = full_hour_ago(4)
    samples = [(at, f"{3 * (at - first)}") for at in range(first, first + 2 * HOUR + 1, 30)]
    (tmp_path / "prometheus").mkdir()
    prometheus = prometheus_with(
        tmp_path / "prometheus",
        {TOKENS.metric: {'{namespace="team-a",pod="chat-0"}': samples}, "up": scraped(first - HOUR, first + 4 * HOUR)},
    )
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    UnitStore(engine, "default").register([WantedCounter("team-a", TOKENS, first)], int(time.time()))
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"units": {"url": f"http://127.0.0.1:{prometheus.port}"}}))
    try:
        async with serving(tmp_path, url, nobody, port=free_port(), config=config), asyncio.timeout(90):
            while True:
                with engine.connect() as connection:
                    found = read_units(connection, "default", [("team-a", TOKENS)], first, first + 2 * HOUR)
                    states = found["team-a", TOKENS].states
                if len(states) == 2:
                    break
                await asyncio.sleep(0.2)
        units = {first + n * HOUR: {("team-a", "chat-0"): 3 * HOUR * 1_000_000} for n in range(2)}
        assert found["team-a", TOKENS].units == units
    finally:
        prometheus.stop()
        engine.dispose()
