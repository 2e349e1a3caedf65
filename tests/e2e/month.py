"""Simulates a team's month with the real ledger, valuation, evaluation, enforcement, webhook and API server.

Only the time and the node reports are simulated. Each hour of March 2027 has one report of one node. Then the budgets
are evaluated as the controller does it, and written to the API server, whose policy refuses new work.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from tests.conftest import Cluster
from tests.e2e.in_process import InProcess
from tests.e2e.story import HOUR, ZONE, Clock, Story
from tests.ledger.reports import arrival

from carbonbudget_core.node_report import (
    Allocatable,
    DomainUse,
    NodeInfo,
    NodeReport,
    PodController,
    PodRequests,
    PodUsage,
)
from carbonbudget_operator.api.wire_names import BUDGET
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.evaluation_loop import EvaluationInputs, EvaluationLoop
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.settings import CarbonSettings, EnforcementSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_W = 3600 * 10**6  # microjoules of a watt in an hour


@dataclass
class Month(Story):
    """The state of the month. `training` is the Job that draws power, if one does."""

    client: KubeClient
    book: ValuedReader
    loop: EvaluationLoop
    enforcement: EnforcementLoop
    seen: EvaluationInputs
    training: str = ""

    async def until(self, when: int) -> None:
        """Let quiet hours pass. Budgets are evaluated every sixth hour and at the end."""
        while self.clock.now < when - HOUR:
            self._report_hour()
            if self.clock.now % (6 * HOUR) == 0:
                await self.evaluate()
        await self.hour()

    async def hour(self) -> None:
        """Report the energy of one hour, then evaluate and enforce all budgets at its end."""
        self._report_hour()
        await self.evaluate()

    @property
    def status(self) -> dict[str, object]:
        """The status of the budget in the last answer of the API server."""
        (held,) = self.seen.budgets.snapshot().values()
        found = held.body.get("status")
        return found if isinstance(found, dict) else {}

    async def until_status(self, **wanted: str) -> None:
        """Let hours pass until the status has these values."""
        end = self.clock.now + 31 * 24 * HOUR
        while any(self.status.get(key) != value for key, value in wanted.items()):
            assert self.clock.now < end, f"a month went by without {wanted}"
            await self.hour()

    def _report_hour(self) -> None:
        Booker(self.book.engine).book([arrival(self._report())])
        self.clock.now += HOUR

    async def evaluate(self) -> None:
        """Run one window of server, controller and enforcement."""
        deriver = UpkeepSteps(self.book, 35, 25)
        deriver.begin(self.clock.now)
        while deriver.step(self.clock.now) is not None:
            pass
        await self._look()
        if self.clock.now % (6 * HOUR) == 0:
            await self.loop.profiles.refresh()
        await self.loop.evaluate()
        await self._look()
        await self.enforcement.step()

    async def _look(self) -> None:
        """Read the budgets in place of the watch of kopf."""
        async for body in self.client.list(BUDGET.collection):
            if body["metadata"]["namespace"] == self.namespace:  # type: ignore[index] # JSON
                self.seen.budgets.seen(BUDGET, "ADDED", body)

    def _report(self) -> NodeReport:
        """One node: 40 W of idle, an API of 10 W by day and 4 W by night, 160 W while a Job trains."""
        local = dt.datetime.fromtimestamp(self.clock.now, ZONE)
        busy = 8 <= local.hour < 20 and local.weekday() < 5
        pods = [self._pod("api-7d9f", PodController("Deployment", "api", "d"), (10 if busy else 4) * _W, 500)]
        if self.training:
            owner = PodController("Job", self.training, self.training)
            pods.append(self._pod(f"{self.training}-x", owner, 160 * _W, 8000))
        dynamic = sum(pod.energy_uj["cpu"] for pod in pods)
        idle, system = 40 * _W, 2 * _W
        domain = DomainUse("cpu", "rapl", "package", HOUR * 1000, idle + system + dynamic, idle, system, 0)
        info = NodeInfo(threads=16, allocatable=Allocatable(16_000, 64 * 10**9, 0))
        window = self.clock.now + HOUR - 60
        return NodeReport(
            "default", "node-1", "boot", window, window + 60, (domain,), tuple(pods), info, 0, self.clock.now
        )

    def _pod(self, name: str, controller: PodController, energy_uj: int, millicores: int) -> PodUsage:
        return PodUsage(
            uid=name, namespace=self.namespace, name=name, controller=controller, labels={"team": "a"},
            energy_uj={"cpu": energy_uj}, cpu_us=millicores * HOUR * 500,
            requests=PodRequests(millicores, 10**9, 0), duration_ms=HOUR * 1000,
        )  # fmt: skip


@asynccontextmanager
async def a_month(cluster: Cluster, namespace: str, ledger: Path, client: KubeClient) -> AsyncIterator[Month]:
    """Everything of the controller, on a simulated clock. The real one must be at 0."""
    engine = open_ledger(f"sqlite:///{ledger}")
    migrate(engine)
    settings = Settings(
        carbon=CarbonSettings(zone="DE", pue=1.3), enforcement=EnforcementSettings(resume_jitter_seconds=300)
    )
    book = ValuedReader(engine, settings)
    clock, registry = Clock(), CollectorRegistry()
    server = InProcess(book, clock)
    seen = EvaluationInputs(BudgetStore(), Namespaces(), ConflictStore())
    loop = EvaluationLoop(
        client, server, seen, ControllerMetrics(registry), 60, EnforcementTerms(6 * HOUR, acts=True), clock
    )
    enforcement = EnforcementLoop(
        client, server, lambda: {held.uid: held.body for held in seen.budgets.snapshot().values()},
        seen.budgets.moved, seen.namespaces.labels, seen.conflicts, settings.enforcement, frozenset({"kube-system"}),
        EnforcementMetrics(registry), 60, 35, clock,
    )  # fmt: skip
    month = Month(cluster, namespace, clock, ledger.parent, client, book, loop, enforcement, seen)
    watches = [
        asyncio.create_task(seen.namespaces.follow(client)),
        asyncio.create_task(enforcement.store.follow(client)),
    ]
    try:
        yield month
    finally:
        for watch in watches:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
        engine.dispose()
