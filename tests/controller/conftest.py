"""Fixtures of this folder: the evaluation loop with its two servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from tests.controller.evaluation_bench import HOUR, Bench, World
from tests.controller.target_bench import TargetBench, target_bench

from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.evaluation_loop import EvaluationInputs, EvaluationLoop
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server_client import ServerClient


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    world = World()
    api, server = web.Application(), web.Application(client_max_size=2**24)
    api.router.add_route("*", "/{path:.*}", world.api)
    server.router.add_post("/v1/budgets/query", world.server)
    server.router.add_post("/v1/budgets/hours", world.hours)
    server.router.add_post("/v1/adjustments", world.adjustments)
    async with TestServer(api) as api_server, TestServer(server) as rest:
        client = KubeClient.connect(Credentials(str(api_server.make_url("")).rstrip("/"), lambda: ""))
        seen = EvaluationInputs(BudgetStore(), Namespaces(), ConflictStore())
        asked = ServerClient(str(rest.make_url("")), None, lambda: "")
        asked._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
        registry = CollectorRegistry()
        loop = EvaluationLoop(
            client, asked, seen, ControllerMetrics(registry), 60, EnforcementTerms(6 * HOUR), now=lambda: world.now
        )
        yield Bench(world, client, loop, seen, registry)
        await client.close()


@pytest.fixture
async def targets() -> AsyncIterator[TargetBench]:
    async with target_bench() as made:
        yield made
