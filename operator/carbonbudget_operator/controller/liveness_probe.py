"""The controller's listener of /healthz and /metrics. The probe fails when a task or a watch of budgets has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from carbonbudget_operator.controller.kopf_setup import stopped_watches

_START_SECONDS = 60.0  # kopf's watchers appear within seconds; until then the probe is patient


async def serve_probe(
    host: str,
    port: int,
    registry: CollectorRegistry,
    tasks: Sequence[asyncio.Task[None]],
    patience_seconds: float = _START_SECONDS,
) -> web.AppRunner:
    """Serves /metrics and /healthz, which fails when one of `tasks` or a watch of budgets has ended."""
    began = asyncio.get_running_loop().time()

    async def healthz(_: web.Request) -> web.Response:
        ended = [task.get_name() for task in tasks if task.done()]
        young = asyncio.get_running_loop().time() - began < patience_seconds
        blind = [] if young else [f"the watch of {plural}" for plural in stopped_watches()]
        if ended or blind:
            return web.Response(status=500, text=f"ended: {', '.join(ended + blind)}")
        return web.Response(text="ok")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
