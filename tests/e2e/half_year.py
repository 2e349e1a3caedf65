"""Simulates half a year of a model in use, with the real ledger, valuation, evaluation of targets and API server.

Only the time, the node reports and the counts of Prometheus are simulated. Each hour has one report of one node and
one count of tokens. Targets, budgets and credits are then evaluated as the controller does it.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
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
from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.api.wire_names import BUDGET, TARGET
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.carbon_price import savings_money
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.credit_loop import CreditLoop
from carbonbudget_operator.controller.evaluation_loop import EvaluationInputs, EvaluationLoop
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.controller.target_loop import TargetLoop
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_store import TargetStore
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.unit_store import UnitStore, WantedCounter
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.units.counter_expression import expression_of
from carbonbudget_operator.units.counting import MICRO, HourUnits
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

TOKENS = ClusterUnitSource(preset="vLLMOutputTokens")
POD = "chat-6c8d"
_W = 3600 * 10**6  # microjoules of a watt in an hour
_BASE_WATTS = 45  # of the pod, whatever it serves


@dataclass
class HalfYear(Story):
    """`joules_per_kilotoken`: what the model draws for 1,000 tokens; a new version of it draws less."""

    client: KubeClient
    book: ValuedReader
    server: InProcess
    budgets: EvaluationLoop
    seen: EvaluationInputs
    targets: TargetStore
    target_loop: TargetLoop
    credits: CreditLoop
    counter: int
    joules_per_kilotoken: int = 240

    async def until(self, when: int) -> None:
        """Let hours pass; everything is evaluated on Mondays at midnight, and at the end."""
        while self.clock.now < when:
            self._hour()
            local = dt.datetime.fromtimestamp(self.clock.now, ZONE)
            if self.clock.now >= when or (local.weekday(), local.hour) == (0, 0):
                await self.evaluate()

    async def evaluate(self) -> None:
        """One evaluation of targets, credits and budgets."""
        steps = UpkeepSteps(self.book, Settings().server.pod_days, 25)
        steps.begin(self.clock.now)
        while steps.step(self.clock.now) is not None:
            pass
        await self._look()
        await self.target_loop.evaluate()
        await self._look()
        await self.credits.round()
        await self.budgets.evaluate()

    async def _look(self) -> None:
        """Read the objects in place of the watches."""
        for resource, store in ((TARGET, self.targets), (BUDGET, self.seen.budgets)):
            async for body in self.client.list(resource.collection):
                if body["metadata"]["namespace"] == self.namespace:  # type: ignore[index] # JSON
                    store.seen(resource, "ADDED", body)

    def _hour(self) -> None:
        """An hour of the node, and the tokens of its pod: 3 million by day, 1 million by night and at weekends."""
        local = dt.datetime.fromtimestamp(self.clock.now, ZONE)
        busy = 8 <= local.hour < 20 and local.weekday() < 5
        tokens = 3_000_000 if busy else 1_000_000
        dynamic = _BASE_WATTS * _W + tokens // 1000 * self.joules_per_kilotoken * 10**6
        pod = PodUsage(
            uid=POD, namespace=self.namespace, name=POD, controller=PodController("Deployment", "chat", "d"),
            labels={"app": "chat"}, energy_uj={"cpu": dynamic}, cpu_us=8 * HOUR * 500_000,
            requests=PodRequests(8_000, 10**10, 0), duration_ms=HOUR * 1000,
        )  # fmt: skip
        idle, system = 40 * _W, 2 * _W
        domain = DomainUse("cpu", "rapl", "package", HOUR * 1000, idle + system + dynamic, idle, system, 0)
        info = NodeInfo(threads=16, allocatable=Allocatable(16_000, 64 * 10**9, 0))
        window = self.clock.now + HOUR - 60
        report = NodeReport(
            "default", "node-1", "boot", window, window + 60, (domain,), (pod,), info, 0, self.clock.now
        )
        Booker(self.book.engine).book([arrival(report)])
        counted = HourUnits({(self.namespace, POD): tokens * MICRO}, is_absent=False, is_sampled=True)
        assert UnitStore(self.book.engine, self.book.cluster).store_hour(self.counter, self.clock.now, counted)
        self.clock.now += HOUR


@asynccontextmanager
async def half_a_year(cluster: Cluster, namespace: str, ledger: Path, client: KubeClient) -> AsyncIterator[HalfYear]:
    """The parts of the controller that evaluate, on a simulated clock."""
    engine = open_ledger(f"sqlite:///{ledger}")
    migrate(engine)
    carbon = CarbonSettings(zone="DE", pue=1.3, price=Decimal(120), tariff=Decimal("0.28"), currency="EUR")
    settings = Settings(carbon=carbon)
    book, clock, registry = ValuedReader(engine, settings), Clock(), CollectorRegistry()
    units = UnitStore(engine, book.cluster)
    units.register([WantedCounter(namespace, expression_of(TOKENS), clock.now)], clock.now)
    (counter,) = units.counters()
    server = InProcess(book, clock)
    seen = EvaluationInputs(BudgetStore(), Namespaces(), ConflictStore())
    budgets = EvaluationLoop(
        client, server, seen, ControllerMetrics(registry), 60, EnforcementTerms(6 * HOUR, acts=True), clock
    )
    targets = TargetStore()
    price = functools.partial(savings_money, settings=settings)
    loop = TargetLoop(client, server, targets, seen.namespaces, TargetMetrics(registry), clock, price=price)
    credit_loop = CreditLoop(
        server, lambda: seen.budgets.snapshot().values(), lambda: [one.body for one in targets.snapshot().values()],
        now=clock,
    )  # fmt: skip
    yield HalfYear(
        cluster, namespace, clock, ledger.parent, client, book, server, budgets, seen, targets, loop, credit_loop,
        counter.id,
    )  # fmt: skip
    engine.dispose()
