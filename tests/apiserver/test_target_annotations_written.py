"""A violated target in the real API server: with its own account, the controller writes the state to each kind of
workload that budgets annotate, and takes it away when the target is deleted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.apiserver.test_deferred_jobs import NoConflicts
from tests.apiserver.test_own_writes import SPACE, Account
from tests.apiserver.test_own_writes import account as account  # the fixture: the controller's rights and policy
from tests.conftest import Cluster
from tests.controller.target_bench import SPEC, PlayedServer, at

from carbonbudget_operator.controller.target_loop import TargetLoop
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_store import TargetStore
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import EnforcementSettings

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

KINDS = ("CronJob", "DaemonSet", "Deployment", "Job", "StatefulSet")
TARGETS = "carbonbudget.dev/targets"
LATER = "2026-11-17"


class Played:
    """The controller's watches of targets and Jobs, its evaluation of targets and its annotator."""

    def __init__(self, cluster: Cluster, client: KubeClient) -> None:
        self.cluster, self.store, self.clock = cluster, TargetStore(), [0.0]
        self.server = PlayedServer(grams={0: 100, at("2026-11-02"): 140})
        registry = CollectorRegistry()
        self.targets = TargetLoop(
            client, self.server, self.store, Namespaces(), TargetMetrics(registry), now=lambda: self.clock[0]
        )
        self.enforcement = EnforcementLoop(
            client, ServerClient("http://127.0.0.1:1", None, lambda: ""), dict, asyncio.Event(), lambda: {SPACE: {}},
            NoConflicts(), EnforcementSettings(), frozenset({"kube-system"}), EnforcementMetrics(registry), 60, 35,
            now=lambda: self.clock[0],
            targets=lambda: [one.body for one in self.store.snapshot().values()] if self.store.listed() else None,
        )  # fmt: skip
        self.enforcement._complete = True  # the budget of the fixture is not played here

    def annotations(self) -> dict[str, str | None]:
        """The annotation of each workload in the API server."""
        found: dict[str, str | None] = {}
        for kind in KINDS:
            metadata: dict[str, Any] = self.cluster.get("-n", SPACE, kind, "w")["metadata"]
            found[kind] = metadata.get("annotations", {}).get(TARGETS)
        return found

    async def evaluate(self, day: str) -> None:
        self.server.through, self.clock[0] = at(day), at(day) + 60.0
        await self.targets.evaluate()

    async def until(self, what: Callable[[], bool], step: Callable[[], Awaitable[None]]) -> None:
        """Take steps until it is so: a watch shows a change a moment later."""
        async with asyncio.timeout(60):
            while not what():
                await step()
                await asyncio.sleep(0.1)


@asynccontextmanager
async def playing(cluster: Cluster, account: Account) -> AsyncIterator[Played]:
    client = KubeClient.connect(account._credentials)
    made = Played(cluster, client)
    watches = [
        asyncio.create_task(made.store.run(client)), asyncio.create_task(made.enforcement.store.follow(client)),
    ]  # fmt: skip
    try:
        yield made
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await client.close()


async def test_workloads_of_a_violated_target_say_so_until_it_is_deleted(cluster: Cluster, account: Account) -> None:
    kubectl = cluster.kubectl
    metadata = {"name": "chat", "namespace": SPACE}
    target = {"apiVersion": "carbonbudget.dev/v1alpha1", "kind": "CarbonTarget", "metadata": metadata, "spec": SPEC}
    kubectl("apply", "-f", "-", stdin=json.dumps(target))
    async with playing(cluster, account) as played:
        played.server.workloads = [(SPACE, f"{kind}/w") for kind in KINDS] + [(SPACE, "Deployment/gone")]

        def state() -> object:
            stored = played.store.body(f"{SPACE}/chat") or {}
            status = stored.get("status")
            return status.get("state") if isinstance(status, dict) else None

        async def again() -> None:
            await played.evaluate(LATER)

        await played.until(lambda: bool(played.store.snapshot()), lambda: asyncio.sleep(0))
        await played.evaluate("2026-11-02")
        await played.until(lambda: state() == "Violated", again)
        shown = cluster.get("-n", SPACE, "ct", "chat")["status"]
        assert [one["kind"] for one in shown["topWorkloads"]] == sorted([*KINDS, "Deployment"])
        template = cluster.get("-n", SPACE, "deployment", "w")["spec"]["template"]

        await played.until(
            lambda: set(played.annotations().values()) == {f"{SPACE}/chat Violated"}, played.enforcement.annotate
        )
        assert cluster.get("-n", SPACE, "deployment", "w")["spec"]["template"] == template, "no pod is restarted"
        before = [cluster.get("-n", SPACE, kind, "w")["metadata"]["resourceVersion"] for kind in KINDS]
        played.clock[0] += 600
        await played.enforcement.annotate()
        after = [cluster.get("-n", SPACE, kind, "w")["metadata"]["resourceVersion"] for kind in KINDS]
        assert before == after, "it is right already"

        kubectl("-n", SPACE, "delete", "ct", "chat")
        await played.until(lambda: not played.store.snapshot(), lambda: asyncio.sleep(0))
        await played.until(lambda: set(played.annotations().values()) == {None}, played.enforcement.annotate)
