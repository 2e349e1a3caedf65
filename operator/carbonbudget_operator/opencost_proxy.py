"""A proxy for clients of OpenCost's API that cannot send a token: it adds the token of its own ServiceAccount.

Whoever reaches it reads what that account may read. It passes on GET for OpenCost's paths alone, and of a request only
the query and If-None-Match: a caller's own token has no effect here and is never sent on.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from carbonbudget_operator.bounded_listener import ConnectionMetrics, Listener, ListenerBounds
from carbonbudget_operator.opencost.allocation_body import error_json
from carbonbudget_operator.opencost.opencost_paths import IGNORED_HEADER, PATHS
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_MOST_CONNECTIONS: Final = 64
_AT_ONCE: Final = 4  # each answer is held in memory
_WAITING: Final = 32
_PASSED_ON: Final = ("Content-Type", "ETag", "Cache-Control", "Retry-After", IGNORED_HEADER)


def make_proxy_app(server: ServerClient) -> web.Application:
    """The proxy as an application; `server` holds the token and the server's address."""
    turns, waiting = asyncio.Semaphore(_AT_ONCE), [0]

    async def passed_on(request: web.Request) -> web.Response:
        if waiting[0] >= _WAITING:
            return _error(503, "too many requests wait: try again", {"Retry-After": "5"})
        waiting[0] += 1
        try:
            async with turns:
                answer = await server.forward(request.rel_url.raw_path_qs, request.headers.get("If-None-Match", ""))
        except ServerUnavailable as error:
            return _error(503, str(error), {"Retry-After": "5"})
        finally:
            waiting[0] -= 1
        kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        return web.Response(status=answer.status, body=answer.body, headers=kept)

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(client_max_size=1)
    for path in PATHS:
        app.router.add_get(path, passed_on, allow_head=False)
    app.router.add_get("/healthz", healthz)
    return app


async def run_proxy(server: ServerClient, host: str, port: int) -> None:
    """Serve without TLS until SIGTERM. Raises OSError if the port is in use."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    bounds = ListenerBounds(_MOST_CONNECTIONS)
    listener = Listener("opencost", make_proxy_app(server), bounds, ConnectionMetrics(CollectorRegistry()))
    await listener.start(host, port)
    try:
        await stop.wait()
    finally:
        await listener.close()


def _error(status: int, reason: str, headers: dict[str, str]) -> web.Response:
    return web.json_response(error_json(status, reason), status=status, headers=headers)
