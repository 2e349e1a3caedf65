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
from carbonbudget_operator.server_client import PERSONS_SECONDS, ServerAnswer, ServerClient, ServerUnavailable

_AT_ONCE: Final = 4  # an answer of at most 32 MiB is in memory until the client has read it
_WAITING: Final = 32
_TURN_SECONDS: Final = 30.0
_WRITE_SECONDS: Final = 30.0
_PART_BYTES: Final = 2**16
# A filter has up to 4,000 characters, three bytes each in an address. Browsers send cookies and many headers.
PROXY_BOUNDS: Final = ListenerBounds(
    connections=64,
    body_seconds=_TURN_SECONDS + PERSONS_SECONDS + _WRITE_SECONDS + 10,
    line_bytes=20 * 2**10,
    field_bytes=16 * 2**10,
    headers=64,
    send_bytes=2**17,
)
_PASSED_ON: Final = ("Content-Type", "ETag", "Cache-Control", "Retry-After", IGNORED_HEADER)


def make_proxy_app(
    server: ServerClient, turn_seconds: float = _TURN_SECONDS, write_seconds: float = _WRITE_SECONDS
) -> web.Application:
    """The proxy as an application; `server` holds the token and the server's address.

    A request waits at most `turn_seconds` for its turn, and keeps it until the client has read the answer: at most
    `write_seconds`, then its connection is closed.
    """
    turns, waiting = asyncio.Semaphore(_AT_ONCE), [0]

    async def passed_on(request: web.Request) -> web.StreamResponse:
        if waiting[0] >= _WAITING:
            return _busy("too many requests wait: try again")
        waiting[0] += 1
        transport = request.transport
        if isinstance(transport, asyncio.ReadTransport):
            transport.pause_reading()  # else aiohttp keeps the heads of 32 more requests
        try:
            try:
                async with asyncio.timeout(turn_seconds):
                    await turns.acquire()
            except TimeoutError:
                return _busy(f"this request waited {turn_seconds:g} s for its turn: try again")
            try:
                answer = await server.forward(request.rel_url.raw_path_qs, request.headers.get("If-None-Match", ""))
                return await _written(request, answer, write_seconds)
            finally:
                turns.release()
        except ServerUnavailable as error:
            return _busy(error.told)
        finally:
            waiting[0] -= 1
            if isinstance(transport, asyncio.ReadTransport):
                transport.resume_reading()

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(client_max_size=1)
    for path in PATHS:
        app.router.add_get(path, passed_on, allow_head=False)
    app.router.add_get("/healthz", healthz)
    return app


def proxy_listener(
    server: ServerClient, turn_seconds: float = _TURN_SECONDS, write_seconds: float = _WRITE_SECONDS
) -> Listener:
    """The proxy with the bounds that it needs; the times are those of `make_proxy_app`."""
    app = make_proxy_app(server, turn_seconds, write_seconds)
    return Listener("opencost", app, PROXY_BOUNDS, ConnectionMetrics(CollectorRegistry()))


async def run_proxy(server: ServerClient, host: str, port: int) -> None:
    """Serve without TLS until SIGTERM. Raises OSError if the port is in use."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = proxy_listener(server)
    await listener.start(host, port)
    try:
        await stop.wait()
    finally:
        await listener.close()


async def _written(request: web.Request, answer: ServerAnswer, seconds: float) -> web.StreamResponse:
    """The answer, written but for less than 128 KiB. A client that does not read it within `seconds` is cut off."""
    kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
    if len(answer.body) <= _PART_BYTES:
        return web.Response(status=answer.status, body=answer.body, headers=kept)
    response = web.StreamResponse(status=answer.status, headers=kept)
    response.content_length = len(answer.body)
    transport, body = request.transport, memoryview(answer.body)
    try:
        async with asyncio.timeout(seconds):
            await response.prepare(request)
            for start in range(0, len(body), _PART_BYTES):
                await response.write(body[start : start + _PART_BYTES])
            await response.write_eof()
    except (TimeoutError, ConnectionError):  # aiohttp finds the connection closed, and says nothing
        if transport is not None:
            transport.abort()
    return response


def _busy(reason: str) -> web.Response:
    return web.json_response(error_json(503, reason), status=503, headers={"Retry-After": "5"})
