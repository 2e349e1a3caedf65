"""The controller's enforcement over one Workload of Kueue, in the real API server."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry
from tests.conftest import Cluster
from tests.controller.api_server import eventually
from tests.enforcement.worlds import Body, budget_body

from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import EnforcementSettings


class Bench:
    """The controller's enforcement as it is, over budgets that the test writes."""

    def __init__(self, cluster: Cluster, client: KubeClient, space: str, name: str, version: str) -> None:
        """`name` is the Workload's."""
        self.cluster, self.client, self.budgets, self.conflicts = cluster, client, dict[str, Body](), ConflictStore()
        self._space, self._name = space, name
        self.loop = EnforcementLoop(
            client,
            ServerClient("http://127.0.0.1:1", None, lambda: ""),
            lambda: self.budgets,
            asyncio.Event(),
            lambda: {space: {}},
            self.conflicts,
            EnforcementSettings(kueue=version, resume_jitter_seconds=0),
            frozenset(),
            EnforcementMetrics(CollectorRegistry()),
            60,
            35,
        )
        self.loop._complete = True  # budgets are given, not listed
        self.suspends(False)

    def suspends(self, yes: bool) -> None:
        """Whether the budget over the namespace has reached Suspend and its grace is over."""
        now = int(dt.datetime.now(dt.UTC).timestamp())
        more: dict[str, int] = {"suspend_from": now - 60, "until": now + 3600} if yes else {}
        self.budgets = {"b": budget_body("monthly", self._space, **more)}

    def workload(self) -> dict[str, Any]:
        """As the API server has it."""
        return self.cluster.get("-n", self._space, "workload", self._name)

    async def step_until(self, active: bool) -> dict[str, Any]:
        """Decide until the API server has it so."""
        for _ in range(50):
            await self.loop.step()
            if self.workload()["spec"]["active"] is active:
                return self.workload()
            await asyncio.sleep(0.1)
        raise AssertionError(f"active is not {active}")

    async def decide_anew(self) -> None:
        """By what the API server has by now; decided several times, it stays the same."""
        latest = self.workload()["metadata"]
        store = self.loop.store
        await eventually(lambda: store.workloads[latest["uid"]].version == latest["resourceVersion"])
        for _ in range(3):
            await self.loop.step()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """While its watches of Jobs and Workloads run; entered when both are there."""
        store = self.loop.store
        tasks = [
            asyncio.create_task(store.follow(self.client)),
            asyncio.create_task(self.loop.follow_workloads()),
        ]
        try:
            await eventually(lambda: store.listed and store.workloads)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
