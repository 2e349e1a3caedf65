"""The enforcement loop between an API server and a carbonbudget server that are small HTTP servers."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.enforcement.worlds import HOUR, NOW, Body, job_body, merged

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.job_fields import parse_job
from carbonbudget_operator.enforcement.workload_annotator import WorkloadAnnotator

JOBS = "/apis/batch/v1/namespaces/team-a/jobs/"


@dataclass
class World:
    """What the two servers have, and what was sent to them."""

    jobs: dict[str, Body] = field(default_factory=dict)
    budgets: list[Body] = field(default_factory=list)
    data_through: int = NOW
    pods: int = 1
    location_ug: int = 400_000_000
    silent: set[str] = field(default_factory=set)
    """Uids of which no pods are known."""
    up: bool = True
    failing: int = 0
    no_events: int = 0
    """The status that each Event is answered with; 0: it is taken."""
    refused: int = 0
    """Patches that are refused from now on."""
    unwritable: str = ""
    """Objects whose name begins so refuse each patch."""
    missing: set[str] = field(default_factory=set)
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    patches: list[tuple[str, Body]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    grid_mg: dict[int, int] = field(default_factory=dict)
    """The grid's milligrams per kWh by hour; any other hour has 400,000."""
    grid_asked: int = 0
    meanwhile: Callable[[Body], None] = lambda _: None
    """Called with a Job that was patched, before the answer is on its way."""

    async def api(self, request: web.Request) -> web.StreamResponse:
        """Jobs, budgets, Events, as an API server takes them."""
        if request.path == "/apis/batch/v1/jobs":
            if "watch" not in request.query:
                return web.json_response({"items": list(self.jobs.values()), "metadata": {"resourceVersion": "1"}})
            stream = web.StreamResponse()
            await stream.prepare(request)
            await asyncio.sleep(20)
            return stream
        if request.method == "GET" and self.failing:
            self.failing -= 1
            self.failed.set()
            return web.json_response({"message": "etcd is away"}, status=500)
        if request.method == "GET":
            namespaced = request.path.endswith("/carbonbudgets")
            kind = "CarbonBudget" if namespaced else "ClusterCarbonBudget"
            return web.json_response({"items": [b for b in self.budgets if b["kind"] == kind], "metadata": {}})
        body = await request.json()
        if request.method == "POST" and self.no_events:
            return web.json_response({"message": "too many"}, status=self.no_events)
        if request.method == "POST":
            self.events.append((body["reason"], body["message"]))
            return web.json_response(body)
        if self.refused:
            self.refused -= 1
            return web.json_response({"message": "refused"}, status=403)
        if self.unwritable and request.path.rsplit("/", 1)[1].startswith(self.unwritable):
            return web.json_response(
                {"message": "annotations: Too long: may not be more than 262144 bytes"}, status=422
            )
        self.patches.append((request.path, body))
        assert request.query["fieldManager"] == "carbonbudget"
        if request.path in self.missing:
            return web.json_response({"message": "not found"}, status=404)
        if not request.path.startswith(JOBS):
            return web.json_response({})
        name = request.path.removeprefix(JOBS)
        if name not in self.jobs:
            return web.json_response({"message": "not found"}, status=404)
        job = self.jobs[name]
        asked, version = body["metadata"].pop("resourceVersion", None), job["metadata"]["resourceVersion"]
        if asked not in (None, version):
            return web.json_response({"message": "the object has been modified"}, status=409)
        self.jobs[name] = merged(job, body) | {}
        self.jobs[name]["metadata"]["resourceVersion"] = str(int(version) + 1)
        answer = copy.deepcopy(self.jobs[name])
        self.meanwhile(self.jobs[name])
        return web.json_response(answer)

    async def runs(self, request: web.Request) -> web.Response:
        """The server's figures of runs."""
        if not self.up:
            return web.json_response({"reason": "starting"}, status=503)
        queries = (await request.json())["queries"]
        self.asked.append(len(queries))
        answers = [
            {
                "id": query["id"], "pods": 0 if query["id"] in self.silent else self.pods,
                "energy_uj": 3_600_000_000_000, "location_ug": self.location_ug,
                "market_ug": 0, "embodied_ug": 0, "gpu_ms": 0, "measured_percent": 100,
            }
            for query in queries
        ]  # fmt: skip
        return web.json_response({"data_through": self.data_through, "answers": answers})

    async def intensity(self, request: web.Request) -> web.Response:
        """The server's figures and forecast of the grid, in pages of 400 rows."""
        self.grid_asked += 1
        if not self.up:
            return web.json_response({"reason": "starting"}, status=503)
        start, end = int(request.query["from"]) // HOUR * HOUR, int(request.query["to"])
        hours = range(start, end, HOUR)
        first = int(request.query.get("cursor", "0"))
        rows = [
            {
                "start": format_time(hour), "end": format_time(hour + HOUR), "zone": "DE", "source": "x",
                "basis": "lifecycle", "g_per_kwh": 0.4, "mg_per_kwh": self.grid_mg.get(hour, 400_000),
                "low_mg_per_kwh": None, "high_mg_per_kwh": None, "estimated": False, "age_hours": 0, "received": None,
                "kind": "forecast" if hour >= NOW else "published", "applied": hour < NOW,
            }
            for hour in hours[first : first + 400]
        ]  # fmt: skip
        following = str(first + 400) if first + 400 < len(hours) else None
        around = {"start": format_time(start), "end": format_time(end), "forecast_until": None, "zones": ["DE"]}
        return web.json_response({**around, "sources": [], "next": following, "rows": rows})

    async def projection(self, _: web.Request) -> web.Response:
        """The server's rates: a core emits 10 g in an hour."""
        rate = {"instance_type": "", "modelled": False, "core_hour_location_ug": 10_000_000}
        others = ("core_hour_market_ug", "core_hour_embodied_ug", "gpu_hour_location_ug", "gpu_hour_market_ug")
        rate |= dict.fromkeys((*others, "gpu_hour_embodied_ug"), 0)
        return web.json_response({"as_of": NOW, "rates": [rate], "runs": []})


@dataclass
class ReportedConflicts:
    """Conflicts as the controller records them."""

    messages: dict[str, str] = field(default_factory=dict)

    def report(self, budget_key: str, message: str, managed: bool = False) -> None:
        self.messages[budget_key] = message

    def clear(self, budget_key: str) -> None:
        self.messages.pop(budget_key, None)


@dataclass
class Bench:
    """The loop in its world; `step` shows it the objects as watches would, then lets it decide once."""

    world: World
    loop: EnforcementLoop
    bodies: dict[str, Body]
    conflicts: ReportedConflicts
    registry: CollectorRegistry
    time: list[float]
    changed: asyncio.Event
    namespaces: dict[str, dict[str, str]]
    evaluated: set[str] | None = None
    """Budgets that were evaluated since the start; None for all."""
    targets: list[Body] | None = field(default_factory=list)
    """The targets that the watches have shown; None: not all yet."""

    def show(self) -> None:
        self.loop.store.jobs = {body["metadata"]["uid"]: parse_job(body) for body in self.world.jobs.values()}
        self.loop.store.listed = True
        self.bodies.clear()
        self.bodies.update({body["metadata"]["uid"]: json.loads(json.dumps(body)) for body in self.world.budgets})

    async def step(self) -> list[tuple[str, Body]]:
        self.show()
        self.world.patches.clear()
        await self.loop.step()
        return list(self.world.patches)

    async def defer(self) -> list[tuple[str, Body]]:
        self.show()
        self.world.patches.clear()
        await self.loop.defer()
        return list(self.world.patches)

    async def annotate(self) -> list[tuple[str, Body]]:
        self.show()
        self.world.patches.clear()
        await self.loop.annotate()
        return list(self.world.patches)

    def add(self, name: str = "train", **more: Any) -> None:
        self.world.jobs[name] = job_body(name, **more)

    def remembered(self) -> set[Any]:
        return set(self.loop._annotator._written)

    def restart(self) -> None:
        """Forget what the annotator wrote, as another process of the controller would not know it."""
        old = self.loop._annotator
        self.loop._annotator = WorkloadAnnotator(old._actions, old._store, old._metrics, old._exempt, old._now)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"carbonbudget_enforcement_{name}", labels) or 0.0


def annotations(bench: Bench, name: str = "train") -> Body:
    found: Body = bench.world.jobs[name]["metadata"]["annotations"]
    return found
