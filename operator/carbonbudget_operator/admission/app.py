"""The webhook's server: its own watch of budgets, one path, two probes."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from pydantic import ValidationError

from carbonbudget_operator.admission.warnings import BadReview, answer, parse_review, warnings_for
from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.api.names import BUDGET
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.tls import follow_certificate

_log = logging.getLogger(__name__)
_MAX_REVIEW_BYTES = 8 * 2**20  # an object of 1.5 MiB, twice, as JSON


class Budgets:
    """All budgets by namespace, kept by a watch. `listed` is set after the first complete list."""

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[str, CarbonBudget]] = {}
        self.listed = asyncio.Event()

    def of(self, namespace: str) -> list[CarbonBudget]:
        """A namespace's budgets."""
        return list(self._by_namespace.get(namespace, {}).values())

    async def follow(self, client: KubeClient) -> None:
        """For ever. After each list, what was not in it is gone: its end was missed."""
        seen: set[tuple[str, str]] = set()
        async for kind, body in client.watch(BUDGET.collection):
            if kind == "LISTING":
                seen.clear()
            elif body is None:
                self._keep_only(seen)
                self.listed.set()
            elif (key := self._put(kind, body)) is not None:
                seen.add(key)

    def _put(self, kind: str, body: Mapping[str, object]) -> tuple[str, str] | None:
        try:
            budget = CarbonBudget.model_validate(body)
        except ValidationError as error:
            _log.warning("a budget is not understood and warns of nothing: %s", error.errors()[0]["msg"])
            return None
        key = (budget.metadata.namespace, budget.metadata.name)
        if kind == "DELETED":
            self._by_namespace.get(key[0], {}).pop(key[1], None)
        else:
            self._by_namespace.setdefault(key[0], {})[key[1]] = budget
        return key

    def _keep_only(self, keys: set[tuple[str, str]]) -> None:
        self._by_namespace = {
            namespace: kept
            for namespace, budgets in self._by_namespace.items()
            if (kept := {name: b for name, b in budgets.items() if (namespace, name) in keys})
        }


def make_app(budgets: Budgets) -> web.Application:
    """The routes."""

    async def validate(request: web.Request) -> web.Response:
        try:
            work = parse_review(json.loads(await request.read()))
        except (ValueError, RecursionError) as error:  # BadReview is a ValueError
            reason = str(error) if isinstance(error, BadReview) else "the body is not JSON"
            return web.json_response({"reason": reason}, status=400)
        return web.json_response(answer(work.uid, warnings_for(work, budgets.of(work.namespace))))

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        ready = budgets.listed.is_set()
        return web.Response(status=200 if ready else 503, text="ok" if ready else "budgets not listed yet")

    app = web.Application(client_max_size=_MAX_REVIEW_BYTES)
    app.router.add_post("/validate", validate)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


async def run(host: str, port: int, context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Until SIGTERM. Raises KubeError without credentials, OSError if the port is taken."""
    client = KubeClient.from_environment()
    budgets = Budgets()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(make_app(budgets), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=context).start()
    tasks = [
        asyncio.create_task(budgets.follow(client)),
        asyncio.create_task(follow_certificate(context, cert, key)),
    ]
    try:
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*tasks, stopped], return_when="FIRST_COMPLETED")
        for task in done - {stopped}:
            await task  # whatever ended it ends the process
    finally:
        for task in tasks:
            task.cancel()
        await runner.cleanup()
        await client.close()
