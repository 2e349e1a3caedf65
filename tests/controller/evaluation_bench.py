"""The evaluation loop with an API server and a server that are small HTTP servers; conftest.py has its fixture."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from tests.controller.objects import NOW, merge

from carbonbudget_operator.api.adjustment_bodies import Adjustment, AdjustmentsRequest
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.controller.evaluation_loop import EvaluationInputs, EvaluationLoop
from carbonbudget_operator.kube.client import KubeClient

BLOCK = [{"at": 100, "action": "Block"}]


HOUR = 3600
MOST_BYTES = 600_000  # of a question's request


@dataclass
class World:
    """What the two servers hold and were told. Objects are by path below the API group's version."""

    now: float = float(NOW)
    used_ug: int = 0
    uses_ug: dict[str, int] = field(default_factory=dict)  # by question, where it differs
    by_hour_ug: dict[int, int] = field(default_factory=dict)  # instead of used_ug, by an instant in the hour
    data_lag_s: int = 0
    up: bool = True
    refuses: set[str] = field(default_factory=set)  # by question; a request with one of them is answered with 422
    requests: int = 0
    reports: bool = True
    hours_ug: list[int] = field(default_factory=list)
    change_permille: list[int] = field(default_factory=list)
    """What the grid's source expects of the hours to come."""
    workloads: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)  # Events of runs
    books: bool = True  # whether the server answers about adjustments
    booked: list[Adjustment] = field(default_factory=list)
    coverage: int = 100
    nodes_behind: int = 0  # of spans that are over
    figures_through: int | None = None
    writing: int = 0
    most_writing: int = 0

    async def api(self, request: web.Request) -> web.Response:
        """Metadata lists, merge patches and events, as an API server takes them."""
        self.calls.append((request.method, request.path))
        if request.method == "GET":
            kind = request.path.rsplit("/", 1)[1]
            items = [{"metadata": o["metadata"]} for p, o in self.objects.items() if f"/{p}".rsplit("/", 2)[1] == kind]
            return web.json_response({"items": items, "metadata": {}})
        body = await request.json()
        if request.path.endswith("/events"):
            if body["reason"].startswith("Run"):
                self.bodies.append(body)
                return web.json_response(body)
            self.events.append((body["metadata"]["namespace"], body["reason"]))
            self.messages.append(body["message"])
            return web.json_response(body)
        path = request.path.removeprefix("/apis/carbonbudget.dev/v1alpha1/").removesuffix("/status")
        if path not in self.objects:
            return web.json_response({"message": "not found"}, status=404)
        if body["metadata"]["uid"] != self.objects[path]["metadata"]["uid"]:
            return web.json_response({"message": "the UID does not match"}, status=409)
        self.writing += 1
        self.most_writing = max(self.most_writing, self.writing)
        merge(self.objects[path], body)
        self.writing -= 1
        return web.json_response(self.objects[path])

    async def server(self, request: web.Request) -> web.Response:
        """The batch query."""
        if not self.up:
            return web.json_response({"reason": "starting"}, status=503)
        self.requests += 1
        if len(await request.read()) > MOST_BYTES:
            return web.json_response({"reason": "the body is too large"}, status=413)
        queries = (await request.json())["queries"]
        if refused := self.refuses & {query["id"] for query in queries}:
            return web.json_response({"reason": f"{min(refused)}: played"}, status=422)
        self.asked = queries
        answers = [self._answer(query) for query in queries]
        through = int(self.now) - self.data_lag_s if self.reports else 0
        figures = {} if self.figures_through is None else {"figures_through": self.figures_through}
        return web.json_response({"data_through": through, "answers": answers, **figures})

    async def adjustments(self, request: web.Request) -> web.Response:
        """Books groups and answers what is booked, as the server's ledger does."""
        if not (self.up and self.books):
            return web.json_response({"reason": "starting"}, status=503)
        asked = AdjustmentsRequest.model_validate(await request.json())
        for group in asked.groups:
            if not {each.key for each in group.adjustments} & {each.key for each in self.booked}:
                self.booked += group.adjustments
        periods = {(one.namespace, one.name, one.period_start) for one in asked.budgets}
        found = [each for each in self.booked if each.key[:3] in periods]
        return web.json_response({"adjustments": [each.model_dump() for each in found]})

    def _answer(self, query: dict[str, Any]) -> dict[str, Any]:
        used_ug = self.uses_ug.get(query["id"], self.used_ug)
        settled_ug, energy_uj = used_ug if query["wishes"]["settled_through"] else 0, 7
        if self.by_hour_ug and query["id"] not in self.uses_ug:
            hours = {at: used for at, used in self.by_hour_ug.items() if query["start"] <= at < query["end"]}
            used_ug = sum(hours.values())
            settled_ug = energy_uj = sum(used for at, used in hours.items() if at < query["wishes"]["settled_through"])
        return {
            "id": query["id"], "used_ug": used_ug, "used_g": "0", "energy_uj": 9, "energy_kwh": "0",
            "coverage_percent": self.coverage, "measured_percent": 0, "data_from": query["start"],
            "settled_ug": settled_ug, "settled_energy_uj": energy_uj,
            "nodes_behind": self.nodes_behind if query["end"] <= self.now - self.data_lag_s else 0,
            "workloads": self.workloads,
        }  # fmt: skip

    async def hours(self, request: web.Request) -> web.Response:
        """The hourly query."""
        queries = (await request.json())["queries"]
        if self.refuses & {query["id"] for query in queries}:
            return web.json_response({"reason": "played"}, status=422)
        answers = [
            {"id": query["id"], "first_hour": query["end"] - HOUR * len(self.hours_ug), "used_ug": self.hours_ug}
            for query in queries
        ]
        first = -(-int(self.now) // HOUR) * HOUR
        change = {"change_from": first, "change_permille": self.change_permille} if self.change_permille else {}
        return web.json_response({"answers": answers, **change})


class Bench:
    """The loop in its world; `evaluate` shows the loop the objects as a watch would, then evaluates once."""

    def __init__(
        self,
        world: World,
        client: KubeClient,
        loop: EvaluationLoop,
        seen: EvaluationInputs,
        registry: CollectorRegistry,
    ) -> None:
        self.world, self.client, self.loop, self.seen, self._registry = world, client, loop, seen, registry

    def add(self, name: str, uid: str = "", **spec: object) -> dict[str, Any]:
        made = {
            "metadata": {"name": name, "namespace": "team-a", "uid": uid or name, "generation": 1},
            "spec": {"limit": "1g", "period": "Month"} | spec,
        }
        self.world.objects[f"namespaces/team-a/carbonbudgets/{name}"] = made
        return made

    def add_cluster_wide(self, name: str, **spec: object) -> dict[str, Any]:
        made = {
            "metadata": {"name": name, "uid": f"cluster-{name}", "generation": 1},
            "spec": {"limit": "1g", "period": "Month"} | spec,
        }
        self.world.objects[f"clustercarbonbudgets/{name}"] = made
        return made

    def show(self) -> None:
        """What a watch would tell."""
        for body in self.world.objects.values():
            resource = BUDGET if "namespace" in body["metadata"] else CLUSTER_BUDGET
            self.seen.budgets.seen(resource, "MODIFIED", copy.deepcopy(body))

    async def evaluate(self) -> list[tuple[str, str]]:
        """The calls that one evaluation made."""
        self.show()
        self.world.calls.clear()
        await self.loop.evaluate()
        return list(self.world.calls)

    def run_events(self) -> list[tuple[str, str, str]]:
        """Kind, name and uid of what Events of runs were about, since this was asked last."""
        found, self.world.bodies = [one["involvedObject"] for one in self.world.bodies], []
        return sorted((one["kind"], one["name"], one.get("uid", "")) for one in found)

    def failures(self) -> float:
        """How many were counted."""
        return self._registry.get_sample_value("carbonbudget_evaluation_failures_total") or 0

    def metrics(self) -> list[str]:
        """Series of budgets."""
        lines = generate_latest(self._registry).decode().splitlines()
        return [line for line in lines if line.startswith("carbonbudget_budget_")]


def actions_logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The actions among the log lines, each with its message."""
    found = [(getattr(record, "action", ""), record.getMessage()) for record in caplog.records]
    return [one for one in found if one[0]]
