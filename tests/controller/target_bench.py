"""The target loop with a small API server and a server that is played at the TargetSource seam."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry, generate_latest
from tests.controller.evaluation_bench import World

from carbonbudget_operator.api.budget_query_bodies import WorkloadUse
from carbonbudget_operator.api.target_query_bodies import (
    TargetAnswer,
    TargetAnswers,
    TargetQuery,
    TargetSpan,
    TargetSpanAnswer,
)
from carbonbudget_operator.api.wire_names import CLUSTER_TARGET, TARGET
from carbonbudget_operator.controller.target_loop import TargetLoop
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_store import TargetStore
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server_client import QuestionRefused, ServerUnavailable

HOUR, DAY = 3600, 86400
GRAM = 10**6


def at(text: str) -> int:
    """UTC seconds of "2026-11-02" or "2026-11-02T05:00"."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


SPEC: dict[str, Any] = {
    "unit": {"name": "token", "per": 1000, "source": {"preset": "vLLMOutputTokens"}},
    "window": "Day",
    "baseline": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"},
    "target": {"reduction": 20, "by": "2026-12-02T00:00:00Z"},
}


@dataclass
class PlayedServer:
    """Each hour has emitted `grams(hour)` and served 1000 units, if its units are known.

    `lag_hours`: how many of the newest hours have no units yet. `unknown`: hours without units. `energy_j`: of an hour.
    """

    through: int = 0
    grams: dict[int, int] = field(default_factory=dict)  # from that time on
    units: int = 1000
    lag_hours: int = 0
    unknown: set[int] = field(default_factory=set)
    factor_percent: int = 100
    energy_j: int | None = 100  # None: a joule for each gram
    embodied_ug: int = 0
    coverage_percent: int = 100
    known_percent: int | None = None
    left_out: list[str] = field(default_factory=list)
    methods: dict[int, tuple[str, ...]] = field(default_factory=dict)  # from that time on; empty: an earlier server
    away: str = "the server does not answer: played"
    up: bool = True
    refuses: set[str] = field(default_factory=set)  # by question
    broken: set[str] = field(default_factory=set)
    workloads: list[tuple[str, str]] = field(default_factory=list)  # namespace and KIND/NAME, the largest first
    asked: list[list[TargetQuery]] = field(default_factory=list)

    async def targets(self, queries: Sequence[TargetQuery]) -> TargetAnswers:
        """As ServerClient.targets."""
        if not self.up:
            raise ServerUnavailable(self.away, "the server does not answer: see the controller's log")
        if refused := self.refuses & {query.id for query in queries}:
            raise QuestionRefused(f"the server answered 422: {min(refused)}: played")
        self.asked.append(list(queries))
        workloads = [
            WorkloadUse(namespace=namespace, workload=workload, used_ug=GRAM, energy_uj=1)
            for namespace, workload in self.workloads
        ]
        answers = [
            TargetAnswer(id=q.id, spans=[self._span(q.id, span) for span in q.spans], workloads=workloads)
            for q in queries
        ]
        return TargetAnswers(
            data_through=self.through, answers=answers, methods=[list(one) for one in self.methods.values()]
        )

    def _span(self, key: str, span: TargetSpan) -> TargetSpanAnswer:
        hours = [hour for hour in range(span.start, span.end, HOUR) if hour + HOUR <= self.through]
        last = self.through // HOUR * HOUR - self.lag_hours * HOUR
        known = [hour for hour in hours if hour + HOUR <= last and hour not in self.unknown]
        grams = sum(self._grams(hour) for hour in known)
        return TargetSpanAnswer(
            start=span.start if key not in self.broken else span.start + HOUR,
            end=span.end,
            emissions_ug=grams * GRAM * self.factor_percent // 100,
            embodied_ug=self.embodied_ug * len(known),
            energy_uj=(grams if self.energy_j is None else self.energy_j * len(known)) * 10**6,
            units_micro=self.units * 10**6 * len(known),
            hours=len(hours),
            known_hours=len(known),
            coverage_percent=self.coverage_percent,
            missing="" if len(known) == len(hours) else "Prometheus does not answer",
            all_emissions_ug=grams * GRAM if self.known_percent is not None else None,
            known_percent=self.known_percent,
            left_out=self.left_out[:5],
            left_out_count=len(self.left_out),
            methods=self._methods(span.start, span.end),
        )

    def _methods(self, start: int, end: int) -> list[int]:
        starts = sorted(self.methods)
        until = [*starts[1:], 2**40]
        return [
            number
            for number, (since, stop) in enumerate(zip(starts, until, strict=False))
            if since < end and stop > start
        ]

    def _grams(self, hour: int) -> int:
        return next((grams for since, grams in sorted(self.grams.items(), reverse=True) if since <= hour), 100)

    def spans_of(self, key: str) -> list[tuple[str, str]]:
        """The spans of the last question about a target, as days or hours."""
        found = [query for queries in self.asked for query in queries if query.id == key]
        return [(shown(span.start), shown(span.end)) for span in found[-1].spans]


def shown(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%m-%dT%H")


class TargetBench:
    """The loop; `evaluate` shows it the objects as a watch would, then evaluates once."""

    def __init__(self, client: KubeClient, world: World) -> None:
        self.world, self.server, self.store = world, PlayedServer(), TargetStore()
        self.namespaces, self.registry, self._client = Namespaces(), CollectorRegistry(), client
        self.loop = self.new_loop()

    def new_loop(self) -> TargetLoop:
        """A loop without memory, as after a restart of the controller."""
        self.registry = CollectorRegistry()
        metrics = TargetMetrics(self.registry)
        self.loop = TargetLoop(
            self._client, self.server, self.store, self.namespaces, metrics, now=lambda: self.world.now
        )
        return self.loop

    def add(self, name: str, uid: str = "", **spec: object) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "team-a", "uid": uid or name, "generation": 1}
        made = {"metadata": metadata | {"creationTimestamp": "2026-11-01T12:00:00Z"}, "spec": self.spec(spec)}
        self.world.objects[f"namespaces/team-a/carbontargets/{name}"] = made
        return made

    def add_cluster_wide(self, name: str, **spec: object) -> dict[str, Any]:
        metadata = {"name": name, "uid": f"cluster-{name}", "generation": 1}
        made = {"metadata": metadata | {"creationTimestamp": "2026-11-01T12:00:00Z"}, "spec": self.spec(spec)}
        self.world.objects[f"clustercarbontargets/{name}"] = made
        return made

    @staticmethod
    def spec(change: dict[str, Any]) -> dict[str, Any]:
        return copy.deepcopy(SPEC) | change

    def edit(self, body: dict[str, Any], **change: object) -> None:
        """As a person's edit: another generation."""
        body["spec"] |= change
        body["metadata"]["generation"] += 1

    async def evaluate(self, day: str, lag_s: int = 60) -> list[tuple[str, str]]:
        """One evaluation with data up to a time, a minute later; returns its calls of the API server."""
        self.server.through = at(day)
        self.world.now = float(at(day) + lag_s)
        for body in self.world.objects.values():
            resource = TARGET if "namespace" in body["metadata"] else CLUSTER_TARGET
            self.store.seen(resource, "MODIFIED", copy.deepcopy(body))
        self.world.calls.clear()
        await self.loop.evaluate()
        return list(self.world.calls)

    def series(self, name: str) -> dict[str, float]:
        """The samples of a metric by its labels."""
        lines = [line for line in generate_latest(self.registry).decode().splitlines() if line.startswith(name + "{")]
        return {line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2]) for line in lines}

    def failures(self) -> float:
        return self.registry.get_sample_value("carbonbudget_target_evaluation_failures_total") or 0


@asynccontextmanager
async def target_bench() -> AsyncIterator[TargetBench]:
    """The bench with its API server."""
    world, api = World(), web.Application()
    api.router.add_route("*", "/{path:.*}", world.api)
    async with TestServer(api) as server:
        client = KubeClient.connect(Credentials(str(server.make_url("")).rstrip("/"), lambda: ""))
        yield TargetBench(client, world)
        await client.close()
