"""The enforcement loop with both of its servers, for all tests of this folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from tests.enforcement.loop_bench import Bench, ReportedConflicts, World
from tests.enforcement.worlds import NOW, Body

from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import EnforcementSettings


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    world, conflicts, bodies, time = World(), ReportedConflicts(), dict[str, Body](), [float(NOW)]
    changed, namespaces = asyncio.Event(), dict[str, dict[str, str]]()
    api, server, registry = web.Application(), web.Application(), CollectorRegistry()
    api.router.add_route("*", "/{path:.*}", world.api)
    server.router.add_post("/v1/runs/query", world.runs)
    server.router.add_get("/api/v1/intensity", world.intensity)
    server.router.add_get("/v1/projection", world.projection)
    async with TestServer(api) as api_server, TestServer(server) as rest:
        client = KubeClient.connect(Credentials(str(api_server.make_url("")).rstrip("/"), lambda: ""))
        asked = ServerClient(str(rest.make_url("")), None, lambda: "")
        asked._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
        loop = EnforcementLoop(
            client,
            asked,
            lambda: bodies,
            changed,
            lambda: namespaces,
            conflicts,
            EnforcementSettings(resume_jitter_seconds=0),
            frozenset({"kube-system"}),
            EnforcementMetrics(registry),
            60,
            35,
            is_evaluated=lambda key: made.evaluated is None or key in made.evaluated,
            now=lambda: time[0],
            targets=lambda: made.targets,
        )
        made = Bench(world, loop, bodies, conflicts, registry, time, changed, namespaces)
        yield made
        await client.close()
