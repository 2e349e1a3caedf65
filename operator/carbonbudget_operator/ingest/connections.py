"""How many connections and requests the server holds, and how they end.

Every agent keeps its connection, so thousands that rest are the ordinary case; what costs is a request under way.
uvicorn's `limit_concurrency` counts both alike, and would refuse everybody once there are that many agents.
"""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_REQUESTS = 2_000
_MOST_CONNECTIONS = 12_000
_SPARE_FILES = 200  # for the ledger, the API server, certificates
_HEADERS_SECONDS = 30.0
_FAREWELL_SECONDS = 0.5
_PROBES = frozenset({"/healthz", "/readyz"})


def raise_file_limit() -> None:
    """A file for each connection: a container's soft limit may be 1,024, its hard one is far above."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections() -> int:
    """As many as there may be open files, and at most 12,000."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(_MOST_CONNECTIONS, soft - _SPARE_FILES)


class Connection(HttpToolsProtocol):
    """One that must say what it wants, and that does not wait for its client when it is over.

    A closed TLS connection waits up to 30 s for the client's own farewell, and an agent reads none before it has its
    next report: a server that was told to end would be away for most of a window.
    """

    most: int = _MOST_CONNECTIONS
    # What it said may still be on its way here when we are about to end it: this brings it.
    bring: Callable[[], None] = staticmethod(lambda: None)
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Cut at once where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more. After a reset uvicorn leaves its timer, and that all that it holds."""
        self._heard()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What begins no request, as an empty line, ends the wait for one at uvicorn: here it has to follow."""
        super().data_received(data)
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._deadline is None and not self.transport.is_closing():
            self._await_headers()

    def on_message_begin(self) -> None:
        """A request's first byte: its head has to follow."""
        self._await_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole; how long a body takes is its reader's business."""
        self._heard()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """After the last answer it is over."""
        super().on_response_complete()
        self._part()

    def shutdown(self) -> None:
        """As uvicorn has it: at once where nothing is asked, else after the answer; but then for good."""
        self.bring()
        super().shutdown()
        self._part()

    def timeout_keep_alive_handler(self) -> None:
        """Over, unless it has just asked."""
        self.bring()
        if self.timeout_keep_alive_task is not None:  # whatever it says takes that away
            super().timeout_keep_alive_handler()

    def _await_headers(self) -> None:
        self._heard()
        self._deadline = self.loop.call_later(_HEADERS_SECONDS, self.transport.abort)

    def _heard(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _part(self) -> None:
        if self.transport.is_closing():
            self.loop.call_later(_FAREWELL_SECONDS, self.transport.abort)


class Bounded:
    """An application with a bound of requests under way; beyond it 503, which agents send again later."""

    def __init__(self, app: ASGIApp, most: int = MOST_REQUESTS) -> None:
        self._app, self._most, self._under_way = app, most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or uvicorn's lifespan."""
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most:
            headers = [(b"content-type", b"application/json"), (b"retry-after", b"2"), (b"connection", b"close")]
            reason = json.dumps({"reason": f"more than {self._most} requests are under way"}).encode()
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": reason})
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
