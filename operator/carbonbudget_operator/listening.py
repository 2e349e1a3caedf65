"""A listener for an aiohttp application with bounds: how many connections, and how long each may take to ask.

aiohttp has none: 1,500 clients that say half a request stay for ever, each with its TLS buffers. Here every connection
counts from the moment it is accepted, before its TLS handshake. When there are too many, one that has gone longest
without a step forward ends, of the address that holds most: so a caller who asks and reads the answer is served while
others hold the rest. What a request costs once it is read is the application's own bound.
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
from aiohttp.typedefs import Middleware

Reason = Literal["full", "late", "failed"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What one connection may make the kernel, TLS and aiohttp hold for it: what a socket received at once is kept two to
# three times. A review's head has some ten lines, of which a bearer token is the longest.
_RECEIVE_BYTES: Final = 16 * 2**10
_BOUNDS: Final[Mapping[str, Any]] = {
    "max_line_size": 2_048,
    "max_field_size": 4_096,
    "max_headers": 16,
    "read_bufsize": 2**14,
    "lingering_time": 1,  # seconds for the rest of a body that is not read
    "auto_decompress": False,
}
_BACKLOG: Final = 512
_SWEEP_SECONDS: Final = 1.0
_SHUTDOWN_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListenerBounds:
    """Of one listener."""

    connections: int
    head_seconds: float = 10.0  # from being accepted to the end of the first request's head, the handshake included
    body_seconds: float = 5.0
    idle_seconds: float = 120.0  # to the next request; Go's client ends its own after 90 s


class ConnectionMetrics:
    """What all listeners of a process hold and end."""

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self.held = prometheus_client.Gauge(
            "carbonbudget_listener_connections", "Connections now.", ("listener",), registry=registry
        )
        self.ended = prometheus_client.Counter(
            "carbonbudget_listener_connections_ended",
            "Connections that the process ended itself.",
            ("listener", "reason"),
            registry=registry,
        )


class _Held:
    """One connection: `since` when it last got further, `limit_s` how long its next step may take."""

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
        """At once; a client that does not read is not waited for."""
        if self.opening is not None:
            self.opening.cancel()
        transport = self.protocol.transport
        if transport is not None:
            transport.abort()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class Listener:
    """One address. `name` is what the metrics call it; without `context` it has no TLS."""

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
            app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, keepalive_timeout=bounds.idle_seconds, **_BOUNDS
        )
        self._held: dict[web.RequestHandler, _Held] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: socket.socket | None = None
        self._loop = asyncio.get_running_loop()

    async def start(self, host: str, port: int) -> None:
        """Raises OSError if the port is taken."""
        await self._runner.setup()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)  # accepted ones take it over
        self._socket.setblocking(False)
        self._tasks = [asyncio.create_task(self._accept(self._socket)), asyncio.create_task(self._sweep())]

    async def close(self) -> None:
        """No new connections; what is asked is answered, for two seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        await self._runner.cleanup()
        for held in list(self._held.values()):
            held.end()
        opening = [held.opening for held in self._held.values() if held.opening is not None]
        await asyncio.gather(*opening, return_exceptions=True)

    @property
    def port(self) -> int:
        """The port in use, once it has started."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, address = await self._loop.sock_accept(listening)
            except OSError as error:  # no file left, or it is gone already
                _log.warning("a connection to %s is not accepted: %s", self._name, error)
                await asyncio.sleep(_SWEEP_SECONDS)
                continue
            self._admit(sock, str(address[0]))

    def _admit(self, sock: socket.socket, peer: str) -> None:
        if len(self._held) >= self._bounds.connections:
            self._forget_lost()
        if len(self._held) >= self._bounds.connections:
            of_a_peer = Counter(held.peer for held in self._held.values())
            self._end(max(self._held.values(), key=lambda held: (of_a_peer[held.peer], -held.since)), "full")
        server = self._runner.server
        assert server is not None
        protocol = server()
        held = _Held(sock, peer, protocol, self._loop.time(), self._bounds.head_seconds)
        self._held[protocol] = held
        held.opening = asyncio.create_task(self._open(held))
        self._metrics.held.labels(self._name).set(len(self._held))

    async def _open(self, held: _Held) -> None:
        # A timeout of less than the head's own is of no use, and asyncio wants one.
        tls = {"ssl_handshake_timeout": self._bounds.head_seconds} if self._context is not None else {}
        try:
            await self._loop.connect_accepted_socket(lambda: held.protocol, held.sock, ssl=self._context, **tls)
        except (OSError, EOFError) as error:  # ssl.SSLError and TimeoutError are ones: the handshake failed
            _log.debug("no connection from %s: %s", held.peer, error)
            self._metrics.ended.labels(self._name, "failed").inc()
            held.sock.close()
            self._held.pop(held.protocol, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._forget_lost()
            now = self._loop.time()
            for held in [held for held in self._held.values() if now - held.since > held.limit_s]:
                self._end(held, "late")

    def _forget_lost(self) -> None:
        for held in [held for held in self._held.values() if held.lost()]:
            del self._held[held.protocol]
        self._metrics.held.labels(self._name).set(len(self._held))

    def _end(self, held: _Held, reason: Reason) -> None:
        held.end()
        self._held.pop(held.protocol, None)
        self._metrics.ended.labels(self._name, reason).inc()

    def _middleware(self) -> Middleware:
        @web.middleware
        async def asked(request: web.Request, handler: Handler) -> web.StreamResponse:
            """Around each request: its head is here, its body has to follow; after the answer, the next one."""
            held = self._held.get(request.protocol)
            if held is not None:
                held.step(self._loop.time(), self._bounds.body_seconds)
            try:
                return await handler(request)
            finally:
                if held is not None:
                    held.step(self._loop.time(), self._bounds.idle_seconds)

        return asked
