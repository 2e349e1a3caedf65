"""A listener for an aiohttp application that limits the number of connections and the time of each step.

aiohttp has no such limits: 1,500 clients that send half a request stay connected, each with its TLS buffers. Here a
connection counts from its acceptance, before the TLS handshake. If there are too many, one connection of the address
with the most connections is closed: the one whose last progress is oldest. So a client that sends requests and reads
answers is served while others only hold connections. The application itself limits the cost of a complete request.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import prometheus_client
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from carbonbudget_operator.peer_address import address_of

Reason = Literal["full", "late", "failed"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Limits of the memory that the kernel, TLS and aiohttp use for one connection. Received data is stored two to three
# times.
_RECEIVE_BYTES: Final = 16 * 2**10
_BOUNDS: Final[Mapping[str, Any]] = {
    "read_bufsize": 2**14,
    "lingering_time": 1,  # seconds to read the rest of a body that the application did not read
    "auto_decompress": False,
}
_BACKLOG: Final = 512
_SWEEP_SECONDS: Final = 1.0
_SHUTDOWN_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)
_http_log = _log.getChild("http")  # of aiohttp's connections


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    """False for a request that is not HTTP or is over a bound: the client has its 400, and a traceback helps nobody."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    _log.debug("a request was refused: %s", type(error).__name__)
    return False


_http_log.addFilter(_is_no_bad_request)


@dataclass(frozen=True, slots=True)
class ListenerBounds:
    """Limits of one listener. Those of a head are for the webhook: about ten lines, the longest is a bearer token."""

    connections: int
    head_seconds: float = 10.0  # from acceptance to the end of the first request's head, with the handshake
    body_seconds: float = 5.0  # from the head to the end of the handler: the body is read and the answer made
    idle_seconds: float = 120.0  # until the next request; Go's client closes idle connections after 90 s
    line_bytes: int = 2_048  # the line with the path and its query
    field_bytes: int = 4_096  # one header
    headers: int = 16
    send_bytes: int | None = None  # the kernel's buffer of what a client has not read yet; None: the kernel's default


class ConnectionMetrics:
    """Metrics of the connections of all listeners in a process."""

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self.open = prometheus_client.Gauge(
            "carbonbudget_listener_connections", "Open connections.", ("listener",), registry=registry
        )
        self.ended = prometheus_client.Counter(
            "carbonbudget_listener_connections_ended",
            "Connections that the process ended itself.",
            ("listener", "reason"),
            registry=registry,
        )


class _Connection:
    """One connection. `since` is the time of its last progress, `limit_s` the limit of its next step in seconds."""

    __slots__ = ("limit_s", "opening", "peer", "protocol", "since", "sock")

    def __init__(self, sock: socket.socket, peer: str, protocol: web.RequestHandler, since: float, limit_s: float):
        self.sock, self.peer, self.protocol = sock, peer, protocol
        self.since, self.limit_s = since, limit_s
        self.opening: asyncio.Task[None] | None = None

    def step(self, now: float, limit_s: float) -> None:
        self.since, self.limit_s = now, limit_s

    def lost(self) -> bool:
        return self.opening is not None and self.opening.done() and self.protocol.transport is None

    def end(self) -> None:
        """Close the connection at once, without waiting for a client that does not read."""
        if self.opening is not None:
            self.opening.cancel()
        transport = self.protocol.transport
        if transport is not None:
            transport.abort()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class Listener:
    """Listens on one address. `name` is its label in the metrics. Without `context` it has no TLS."""

    def __init__(
        self, name: str, app: web.Application, bounds: ListenerBounds, metrics: ConnectionMetrics,
        context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._name, self._bounds, self._context = name, bounds, context
        self._metrics = metrics
        for reason in ("full", "late", "failed"):
            metrics.ended.labels(name, reason)
        app.middlewares.append(self._middleware())
        self._runner = web.AppRunner(
            app, access_log=None, logger=_http_log, shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=bounds.idle_seconds, max_line_size=bounds.line_bytes, max_field_size=bounds.field_bytes,
            max_headers=bounds.headers, **_BOUNDS,
        )  # fmt: skip
        self._connections: dict[web.RequestHandler, _Connection] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: socket.socket | None = None
        self._loop = asyncio.get_running_loop()

    async def start(self, host: str, port: int) -> None:
        """Start to accept connections; without a host on all addresses. Raises OSError if the port is in use."""
        await self._runner.setup()
        # One socket of both families; a kernel without IPv6 has none.
        both = not host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)  # accepted connections inherit it
        if self._bounds.send_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._bounds.send_bytes)
        self._socket.setblocking(False)
        self._tasks = [asyncio.create_task(self._accept(self._socket)), asyncio.create_task(self._sweep())]

    async def close(self) -> None:
        """Accept no more connections, answer open requests for up to two seconds, and close all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        await self._runner.cleanup()
        for connection in list(self._connections.values()):
            connection.end()
        opening = [connection.opening for connection in self._connections.values() if connection.opening is not None]
        await asyncio.gather(*opening, return_exceptions=True)

    @property
    def port(self) -> int:
        """The port, after `start`."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, address = await self._loop.sock_accept(listening)
            except OSError as error:  # no file descriptor is free, or the client closed the connection
                _log.warning("a connection to listener %s was not accepted: %s", self._name, error)
                await asyncio.sleep(_SWEEP_SECONDS)
                continue
            self._admit(sock, address_of(address))

    def _admit(self, sock: socket.socket, peer: str) -> None:
        if len(self._connections) >= self._bounds.connections:
            self._forget_lost()
        if len(self._connections) >= self._bounds.connections:
            of_a_peer = Counter(connection.peer for connection in self._connections.values())
            self._end(max(self._connections.values(), key=lambda one: (of_a_peer[one.peer], -one.since)), "full")
        server = self._runner.server
        assert server is not None
        protocol = server()
        connection = _Connection(sock, peer, protocol, self._loop.time(), self._bounds.head_seconds)
        self._connections[protocol] = connection
        connection.opening = asyncio.create_task(self._open(connection))
        self._metrics.open.labels(self._name).set(len(self._connections))

    async def _open(self, connection: _Connection) -> None:
        # asyncio needs a timeout here; a shorter one than that of the head has no use.
        tls = {"ssl_handshake_timeout": self._bounds.head_seconds} if self._context is not None else {}
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection.protocol, connection.sock, ssl=self._context, **tls
            )
        except (OSError, EOFError) as error:  # includes ssl.SSLError and TimeoutError: the handshake failed
            _log.debug("no connection from %s: %s", connection.peer, error)
            self._metrics.ended.labels(self._name, "failed").inc()
            connection.sock.close()
            self._connections.pop(connection.protocol, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._forget_lost()
            now = self._loop.time()
            for connection in [one for one in self._connections.values() if now - one.since > one.limit_s]:
                self._end(connection, "late")

    def _forget_lost(self) -> None:
        for connection in [one for one in self._connections.values() if one.lost()]:
            del self._connections[connection.protocol]
        self._metrics.open.labels(self._name).set(len(self._connections))

    def _end(self, connection: _Connection, reason: Reason) -> None:
        connection.end()
        self._connections.pop(connection.protocol, None)
        self._metrics.ended.labels(self._name, reason).inc()

    def _middleware(self) -> Middleware:
        @web.middleware
        async def with_limits(request: web.Request, handler: Handler) -> web.StreamResponse:
            """Limit the time of a request's body, and after the answer the time until the next request."""
            connection = self._connections.get(request.protocol)
            if connection is not None:
                connection.step(self._loop.time(), self._bounds.body_seconds)
            try:
                return await handler(request)
            finally:
                if connection is not None:
                    connection.step(self._loop.time(), self._bounds.idle_seconds)

        return with_limits
