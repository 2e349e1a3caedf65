"""Limits the server's connections and requests in number and time, and ends connections in order.

Every agent leaves its connection open, so thousands of idle connections are normal; only a request costs something.
uvicorn's `limit_concurrency` counts both alike, and would reject all requests once there are that many agents.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from carbonbudget_operator.ingest.connection_peers import ConnectionPeer, PeerKind
from carbonbudget_operator.tls import common_name

MOST_REQUESTS = 2_000
_MOST_CONNECTIONS = 14_000
_SPARE_FILES = 200  # for the ledger, the API server, certificates
_HEADERS_SECONDS = 10.0
_MOST_HEAD_BYTES = 64 * 1024
_MOST_PIPELINED = 8  # our agents and clients wait for each answer
_ANSWER_SECONDS = 60.0
# A Service chooses a server once for each connection. A server that is added gets its part of the agents in an hour.
_OLD_SECONDS = 1_800.0  # and up to as much again, so that connections of one start do not end together
_UNREAD_SECONDS = 0.2
_FAREWELL_SECONDS = 0.5
CERTIFICATE_NAME = "certificate_name"  # in a request's state
_PROBES = frozenset({"/healthz", "/readyz"})


def raise_file_limit() -> None:
    """A file for each connection: a container's soft limit may be 1,024, its hard limit is higher."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections() -> int:
    """As many as there may be open files, and at most 14,000."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(_MOST_CONNECTIONS, soft - _SPARE_FILES)


def belongs_to(scope: Scope, kind: PeerKind, owner: str) -> None:
    """Count the connection of an authenticated request as that of its owner."""
    peer = scope.get("state", {}).get("peer")
    if isinstance(peer, ConnectionPeer):
        peer.belongs_to(kind, owner)


class ClientConnection(HttpToolsProtocol):
    """An HTTP connection with time limits for request heads and answers, which ends without waiting for its client.

    One that is old ends with its next answer, which says so.

    A closed TLS connection waits up to 30 s for the client's closing message, and an agent reads none before its next
    report. So a server that is to end would be away for most of a window.
    """

    # Collected data may not have arrived here yet when the connection is about to end: this passes it on.
    bring: Callable[[], None] = staticmethod(lambda: None)
    peer: ConnectionPeer | None = None
    certificate_name = ""  # the common name of the client's certificate, if TLS verified one
    _deadline: asyncio.TimerHandle | None = None
    _answer_deadline: asyncio.TimerHandle | None = None
    _old_from = 0.0  # seconds of the loop's clock
    _unused_bytes = 0  # received since a request began or a part of its body came: heads, extensions, trailers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Start the time limit of the first request."""
        super().connection_made(transport)
        self._old_from = self.loop.time() + _OLD_SECONDS * random.uniform(1, 2)  # noqa: S311 - it is no secret
        self.certificate_name = common_name(transport.get_extra_info("peercert"))
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers. After a reset uvicorn would leave its timer, and with it everything that it refers to."""
        self._heard()
        self._taken()
        self._unset_keepalive_if_required()
        if self.peer is not None:
            self.peer.left()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What begins no request, as an empty line, ends the wait for one at uvicorn: here it has to follow."""
        self._unused_bytes += len(data)
        super().data_received(data)
        if self._unused_bytes > _MOST_HEAD_BYTES or len(self.pipeline) > _MOST_PIPELINED:
            self.transport.abort()
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._deadline is None and not self.transport.is_closing():
            self._await_headers()

    def on_message_begin(self) -> None:
        """The first byte of a request has arrived: start the time limit of its head."""
        self._unused_bytes = 0
        self._await_headers()
        super().on_message_begin()
        self.scope["state"]["peer"] = (
            self.peer
        )  # not the connection: it would refer to itself through its request's scope
        if self.certificate_name:
            self.scope["state"][CERTIFICATE_NAME] = self.certificate_name

    def on_headers_complete(self) -> None:
        """The head is complete. The reader of the body has its own time limit."""
        self._heard()
        if self.peer is not None:
            self.peer.asks()
        super().on_headers_complete()
        if self.cycle is not None and self.loop.time() >= self._old_from:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._unused_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Closes the connection after its last answer, and after an answer to a request whose body was not read.

        A moment passes before that connection is closed, so that the client finds the answer.
        """
        unread = self.cycle.response_complete and self.cycle.more_body  # it may be a later request's, which waits
        super().on_response_complete()
        if self.peer is not None:
            self.peer.is_answered()
        if unread and not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_later(_UNREAD_SECONDS, self.transport.abort)
        self._part()

    def pause_writing(self) -> None:
        """The client does not read its answer: start a time limit, because the answer uses memory."""
        super().pause_writing()
        if self.peer is not None:
            self.peer.is_answered()
        if self._answer_deadline is None:
            self._answer_deadline = self.loop.call_later(_ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read most of its answer."""
        self._taken()
        super().resume_writing()

    def shutdown(self) -> None:
        """As uvicorn has it: at once where nothing is asked, else after the answer; but then for good."""
        self.bring()
        super().shutdown()
        self._part()

    def timeout_keep_alive_handler(self) -> None:
        """Over, unless it has just asked."""
        self.bring()
        if self.timeout_keep_alive_task is not None:  # any data stops that timer
            super().timeout_keep_alive_handler()

    def _await_headers(self) -> None:
        self._heard()
        self._deadline = self.loop.call_later(_HEADERS_SECONDS, self.transport.abort)

    def _heard(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _taken(self) -> None:
        if self._answer_deadline is not None:
            self._answer_deadline.cancel()
            self._answer_deadline = None

    def _part(self) -> None:
        if self.transport.is_closing():
            self.loop.call_later(_FAREWELL_SECONDS, self.transport.abort)


class BoundedApplication:
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
