"""The burst reader: reads the data of all connections into one buffer, and passes on the data of many together.

A report that arrives alone finds the processor's caches cold: TLS, HTTP and our code each cost several times what they
cost right after the same work for another report. So while many agents send, their data is collected for a tenth of a
second, and the reports are handled in bursts (docs/design/2026-11-25-ingest.md). What others send is never collected,
however many they are: they neither wait nor make agents wait.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, cast

from carbonbudget_operator.ingest.connection_limits import ClientConnection, most_connections
from carbonbudget_operator.ingest.connection_peers import Abortable, ConnectionPeer, ConnectionPeers
from carbonbudget_operator.peer_address import address_of

# Data is collected only if so many agents send: a few never wait.
_SEVERAL = 8
_COLLECT_SECONDS = 0.1
_MOST_BYTES = 1 << 20
_HANDSHAKE_SECONDS = 10.0
_ROUND_SECONDS = 0.1


class BurstReader:
    """All connections of one server; uvicorn calls `connection` for each.

    With `tls`, which uvicorn must not have then, a connection counts from its acceptance, and its handshake has a time
    limit. With uvicorn's TLS the present handshakes could be neither counted nor ended.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, peers: ConnectionPeers | None = None) -> None:
        self.peers = ConnectionPeers(most_connections()) if peers is None else peers
        self._tls = tls
        self._handshakes: set[asyncio.Task[None]] = set()
        # Emptied before the next read: both calls are in one iteration of the one event loop.
        self.buffer = memoryview(bytearray(64 * 1024))
        self._recent: set[ClientConnection] = set()
        self._until = 0.0
        self._collecting = self._counts_rounds = False
        self._collected: list[tuple[ClientConnection, bytes]] = []
        self._size = 0

    def connection(self, *args: Any, **options: Any) -> asyncio.BaseProtocol:
        """A new connection, from uvicorn's arguments."""
        connection = ClientConnection(*args, **options)
        connection.bring = self.pass_on
        reading = _Reading(self, connection)
        return reading if self._tls is None else _Accepted(self, reading)

    def new_peer(self, peername: object, transport: Abortable) -> ConnectionPeer:
        """The other side of a connection that was just accepted."""
        made = ConnectionPeer(self.peers, address_of(peername), transport)
        if self.peers.strangers.is_crowded and not self._counts_rounds:
            self._counts_rounds = True
            asyncio.get_running_loop().call_later(_ROUND_SECONDS, self._count_round)
        return made

    def _count_round(self) -> None:
        """Count a round of the event loop, or several short ones: what is ready was read in between."""
        strangers = self.peers.strangers
        strangers.rounds += 1
        self._counts_rounds = strangers.is_crowded
        if self._counts_rounds:
            asyncio.get_running_loop().call_later(_ROUND_SECONDS, self._count_round)

    def begin_tls(self, accepted: socket.socket, reading: _Reading) -> None:
        """Begin the TLS handshake on an accepted connection."""
        task = asyncio.get_running_loop().create_task(self._begin_tls(accepted, reading))
        reading.peer = self.new_peer(accepted.getpeername(), TlsHandshake(task, accepted))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _begin_tls(self, accepted: socket.socket, reading: _Reading) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: reading, accepted, ssl=self._tls, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        except (
            OSError,
            asyncio.CancelledError,
        ):  # no TLS, a reset, too slow (ssl.SSLError is an OSError); one too many
            assert reading.peer is not None
            reading.peer.left()
            reading.peer = None
            accepted.close()

    def received(self, connection: ClientConnection, size: int) -> None:
        """`size` bytes of the buffer were received: pass them on, now or with the data of other connections."""
        data = bytes(self.buffer[:size])
        if connection.peer is None or not connection.peer.has_reported:
            connection.data_received(data)
            return
        if self._collecting:
            self._collected.append((connection, data))
            self._size += size
            if self._size > _MOST_BYTES:
                self.pass_on()
            return
        now = connection.loop.time()
        if now >= self._until:
            self._recent.clear()
            self._until = now + _COLLECT_SECONDS
        self._recent.add(connection)
        if len(self._recent) >= _SEVERAL:
            self._recent.clear()
            self._collect(connection.loop)
        connection.data_received(data)

    def pass_on(self) -> None:
        """Pass on all collected data, in the order of its arrival."""
        collected, self._collected, self._size = self._collected, [], 0
        for connection, data in collected:
            try:
                connection.data_received(data)
            except Exception as error:  # as the transport does: it ends this connection and no other
                context = {"message": "a connection's data could not be handled", "exception": error}
                connection.loop.call_exception_handler(context)
                connection.transport.abort()

    def forget(self, connection: ClientConnection) -> None:
        """A connection has ended."""
        self._recent.discard(connection)

    def _collect(self, loop: asyncio.AbstractEventLoop) -> None:
        self._collecting = True
        loop.call_later(_COLLECT_SECONDS, self._burst, loop)

    def _burst(self, loop: asyncio.AbstractEventLoop) -> None:
        self._collecting = False
        if len({connection for connection, _ in self._collected}) >= _SEVERAL:
            self._collect(loop)
        self.pass_on()


class TlsHandshake:
    """The present handshake of one connection."""

    def __init__(self, task: asyncio.Task[None], accepted: socket.socket) -> None:
        self._task, self._accepted = task, accepted

    def abort(self) -> None:
        """End it, and the connection."""
        self._task.cancel()
        self._accepted.close()


class _Accepted(asyncio.Protocol):
    """A connection that was just accepted: its socket is taken over for the handshake, before anything is read."""

    def __init__(self, reader: BurstReader, reading: _Reading) -> None:
        self._reader, self._reading = reader, reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts TLS on this connection."""
        accepted: socket.socket = transport.get_extra_info("socket").dup()
        cast("asyncio.Transport", transport).abort()  # our copy of the socket stays open
        try:
            self._reader.begin_tls(accepted, self._reading)
        except OSError:  # the client has gone
            accepted.close()


class _Reading(asyncio.BufferedProtocol):
    """The protocol of one connection: it reads into the buffer of all connections.

    With a protocol that receives bytes, uvloop's TLS allocates 256 KiB for each piece and frees the unused part. Among
    the buffers of thousands of connections, that took an eighth of a request's time.
    """

    def __init__(self, reader: BurstReader, connection: ClientConnection) -> None:
        self._reader, self._connection = reader, connection
        self.peer: ConnectionPeer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ready: pass it to the connection."""
        made = cast("asyncio.Transport", transport)
        if self.peer is None:  # without TLS, or with uvicorn's
            self.peer = self._reader.new_peer(made.get_extra_info("peername"), made)
        self.peer.transport = made
        self._connection.peer = self.peer
        self._connection.connection_made(made)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer to read into."""
        return self._reader.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` bytes were read."""
        self._reader.received(self._connection, nbytes)

    def pause_writing(self) -> None:
        """Passed on to the connection."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Passed on to the connection."""
        self._connection.resume_writing()

    def eof_received(self) -> None:
        """Collected data comes first."""
        self._reader.pass_on()
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Collected data comes first. uvloop's TLS keeps a reference to this object, so it drops its own references."""
        self._reader.pass_on()
        self._connection.connection_lost(exc)
        self._reader.forget(self._connection)
        del self._connection
        self.peer = None
