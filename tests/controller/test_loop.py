"""The evaluation loop against an API server and a server that are small HTTP servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from carbonbudget_operator.controller.inventory import Inventory
from carbonbudget_operator.controller.loop import EvaluationLoop
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.server_client import Server

NOW = 1795460000.0
BLOCK = [{"at": 100, "action": "Block"}]


@dataclass
class World:
    """What the two servers hold and were told."""

    used_ug: int = 0
    data_through: int = int(NOW)
    up: bool = True
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    async def api(self, request: web.Request) -> web.Response:
        """Merge patches and events, as an API server takes them."""
        self.calls.append((request.method, request.path))
        body = await request.json()
        if request.path.endswith("/events"):
            self.events.append(body["reason"])
            return web.json_response(body)
        name = request.path.split("/")[7]
        if name not in self.objects:
            return web.json_response({"message": "not found"}, status=404)
        _merge(self.objects[name], body)
        return web.json_response(self.objects[name])

    async def server(self, request: web.Request) -> web.Response:
        """The batch query."""
        if not self.up:
            return web.json_response({"reason": "starting"}, status=503)
        answers = [
            {
                "id": query["id"], "used_ug": self.used_ug, "used_g": "0", "energy_uj": 1, "energy_kwh": "0",
                "coverage_percent": 100, "measured_percent": 0,
            }
            for query in (await request.json())["queries"]
        ]  # fmt: skip
        return web.json_response({"data_through": self.data_through, "answers": answers})


class Bench:
    """The loop in its world; `evaluate` shows the loop the objects as a watch would, then judges once."""

    def __init__(self, world: World, loop: EvaluationLoop, inventory: Inventory) -> None:
        self.world, self._loop, self._inventory = world, loop, inventory

    def add(self, name: str, **spec: object) -> None:
        self.world.objects[name] = {
            "metadata": {"name": name, "namespace": "team-a", "uid": name, "generation": 1},
            "spec": {"limit": "1g", "period": "Month"} | spec,
        }

    async def evaluate(self) -> list[tuple[str, str]]:
        """The calls that one evaluation made."""
        for name, body in self.world.objects.items():
            self._inventory.seen("MODIFIED", name, body["metadata"]["generation"], json.loads(json.dumps(body)))
        self.world.calls.clear()
        await self._loop.evaluate()
        return list(self.world.calls)


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    world = World()
    api, server = web.Application(), web.Application()
    api.router.add_route("*", "/{path:.*}", world.api)
    server.router.add_post("/v1/budgets/query", world.server)
    async with TestServer(api) as api_server, TestServer(server) as rest:
        client = KubeClient.connect(Credentials(str(api_server.make_url("")).rstrip("/"), lambda: ""))
        inventory = Inventory()
        asked = Server(str(rest.make_url("")), None, lambda: "")
        metrics = ControllerMetrics(CollectorRegistry())
        loop = EvaluationLoop(client, asked, inventory, metrics, 60, 6 * 3600, now=lambda: NOW)
        asked._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
        yield Bench(world, loop, inventory)
        await client.close()


async def test_a_verdict_is_written_once_and_then_nothing_until_it_changes(bench: Bench) -> None:
    bench.add("monthly")
    assert await bench.evaluate() == [
        ("PATCH", "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets/monthly/status")
    ]
    assert bench.world.objects["monthly"]["status"]["state"] == "WithinBudget"
    assert await bench.evaluate() == []


async def test_a_block_writes_status_label_and_event_and_its_end_takes_both_back(bench: Bench) -> None:
    bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    tight = bench.world.objects["tight"]
    assert tight["status"]["enforcement"]["action"] == "Block"
    assert tight["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}
    assert bench.world.events == ["BudgetExceeded"]
    tight["spec"]["limit"] = "1kg"
    tight["metadata"]["generation"] = 2
    await bench.evaluate()
    assert "enforcement" not in tight["status"]
    assert tight["metadata"]["labels"] == {}
    assert bench.world.events == ["BudgetExceeded", "BudgetWithinLimit"]


async def test_a_label_that_somebody_took_off_is_put_back(bench: Bench) -> None:
    bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.objects["tight"]["metadata"]["labels"].clear()
    await bench.evaluate()
    assert bench.world.objects["tight"]["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}


async def test_while_the_server_is_away_the_last_verdict_stands(bench: Bench) -> None:
    bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.up = False
    await bench.evaluate()
    tight = bench.world.objects["tight"]
    assert tight["status"]["state"] == "Exceeded"
    assert "enforcement" in tight["status"]
    assert tight["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}
    reasons = {c["type"]: c["reason"] for c in tight["status"]["conditions"]}
    assert reasons["DataComplete"] == "ServerUnavailable"
    assert await bench.evaluate() == []  # said once


async def test_before_any_report_nothing_is_judged(bench: Bench) -> None:
    bench.add("tight", thresholds=BLOCK, limit="0g")
    bench.world.data_through = 0
    await bench.evaluate()
    assert bench.world.objects["tight"]["status"]["state"] == "Unknown"


async def test_a_bad_budget_holds_up_nobody_else(bench: Bench) -> None:
    bench.add("bad", limit="much")
    bench.add("good")
    await bench.evaluate()
    assert bench.world.objects["bad"]["status"]["conditions"][0]["reason"] == "BadSpec"
    assert bench.world.objects["good"]["status"]["state"] == "WithinBudget"
    assert await bench.evaluate() == []


async def test_a_budget_that_is_gone_is_forgotten_by_the_write_that_misses_it(bench: Bench) -> None:
    bench.add("gone")
    bench._inventory.seen("ADDED", "gone", 1, dict(bench.world.objects.pop("gone")))
    await bench.evaluate()
    assert bench._inventory.bodies() == {}
