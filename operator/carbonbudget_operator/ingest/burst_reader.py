"""How what connections say comes in: read without waste, and while many speak, in bursts.

A report that comes by itself finds the processor's caches cold: TLS, HTTP and our own code each cost several times
what they cost right after the same work was done for another one. While many agents send, what they say is let gather
for a tenth of a second; from there on all is done for a burst of reports at a time
(docs/design/2026-11-25-ingest.md).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, cast

from carbonbudget_operator.ingest.connections import ClientConnection, most_connections
from carbonbudget_operator.ingest.peers import ConnectionPeer, ConnectionPeers

# One agent that sends one report after the other is never made to wait, nor are a few.
_SEVERAL = 8
_GATHER_SECONDS = 0.1
_MOST_BYTES = 1 << 20
_HANDSHAKE_SECONDS = 10.0


class BurstReader:
    """All connections of one server; `connection` is what uvicorn calls for each.

    With `tls`, which uvicorn is not told of then, a connection counts from the moment at which it is accepted, and its
    handshake has a bound of time. Left to uvicorn, no one could count or end the handshakes under way.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, peers: ConnectionPeers | None = None) -> None:
        self.peers = ConnectionPeers(most_connections()) if peers is None else peers
        self._tls = tls
        self._handshakes: set[asyncio.Task[None]] = set()
        # Emptied before anybody else reads: both calls come from one turn of the one loop.
        self.buffer = memoryview(bytearray(64 * 1024))
        self._spoke: set[ClientConnection] = set()
        self._until = 0.0
        self._gathering = False
        self._said: list[tuple[ClientConnection, bytes]] = []
        self._size = 0

    def connection(self, *args: Any, **options: Any) -> asyncio.BaseProtocol:
        """One that was made; uvicorn's arguments."""
        connection = ClientConnection(*args, **options)
        connection.bring = self.pass_on
        reading = _Reading(self, connection)
        return reading if self._tls is None else _Accepted(self, reading)

    def begin_tls(self, accepted: socket.socket, reading: _Reading) -> None:
        """Shake hands on an accepted connection."""
        task = asyncio.get_running_loop().create_task(self._begin_tls(accepted, reading))
        reading.peer = ConnectionPeer(self.peers, address_of(accepted.getpeername()), TlsHandshake(task, accepted))
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

    def hear(self, connection: ClientConnection, size: int) -> None:
        """So many bytes of the buffer are what it said: pass them on, now or with what others say."""
        said = bytes(self.buffer[:size])
        if self._gathering:
            self._said.append((connection, said))
            self._size += size
            if self._size > _MOST_BYTES:
                self.pass_on()
            return
        now = connection.loop.time()
        if now >= self._until:
            self._spoke.clear()
            self._until = now + _GATHER_SECONDS
        self._spoke.add(connection)
        if len(self._spoke) >= _SEVERAL:
            self._spoke.clear()
            self._gather(connection.loop)
        connection.data_received(said)

    def pass_on(self) -> None:
        """All that has gathered, in the order in which it came."""
        said, self._said, self._size = self._said, [], 0
        for connection, data in said:
            try:
                connection.data_received(data)
            except Exception as error:  # as the transport would have it: one connection's end, not the others'
                context = {"message": "a connection's data could not be taken", "exception": error}
                connection.loop.call_exception_handler(context)
                connection.transport.abort()

    def forget(self, connection: ClientConnection) -> None:
        """It has ended."""
        self._spoke.discard(connection)

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        self._gathering = True
        loop.call_later(_GATHER_SECONDS, self._burst, loop)

    def _burst(self, loop: asyncio.AbstractEventLoop) -> None:
        self._gathering = False
        if len({connection for connection, _ in self._said}) >= _SEVERAL:
            self._gather(loop)
        self.pass_on()


def address_of(peername: object) -> str:
    """The client's address, of what a socket says of its other side."""
    return str(peername[0]) if isinstance(peername, tuple) and peername else ""


class TlsHandshake:
    """A connection's handshake under way."""

    def __init__(self, task: asyncio.Task[None], accepted: socket.socket) -> None:
        self._task, self._accepted = task, accepted

    def abort(self) -> None:
        """End it, and the connection."""
        self._task.cancel()
        self._accepted.close()


class _Accepted(asyncio.Protocol):
    """A connection that was just accepted: its socket is taken over for the handshake, before anything is read."""

    def __init__(self, door: BurstReader, reading: _Reading) -> None:
        self._door, self._reading = door, reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts TLS on this connection."""
        accepted: socket.socket = transport.get_extra_info("socket").dup()
        cast("asyncio.Transport", transport).abort()  # our copy of the socket stays open
        try:
            self._door.begin_tls(accepted, self._reading)
        except OSError:  # the client has gone
            accepted.close()


class _Reading(asyncio.BufferedProtocol):
    """One connection, read into the buffer of all.

    Asked for bytes, uvloop's TLS takes 256 KiB for each piece that came and gives back what was not needed: to look for
    such a place between thousands of connections' own buffers was an eighth of a request's time.
    """

    def __init__(self, door: BurstReader, connection: ClientConnection) -> None:
        self._door, self._connection = door, connection
        self.peer: ConnectionPeer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """From here on it is its connection's."""
        made = cast("asyncio.Transport", transport)
        if self.peer is None:  # without TLS, or with uvicorn's
            self.peer = ConnectionPeer(self._door.peers, address_of(made.get_extra_info("peername")), made)
        self.peer.transport = made
        self._connection.peer = self.peer
        self._connection.connection_made(made)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        return self._door.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
        self._door.hear(self._connection, nbytes)

    def pause_writing(self) -> None:
        """As its connection has it."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """As its connection has it."""
        self._connection.resume_writing()

    def eof_received(self) -> None:
        """What it said before comes first."""
        self._door.pass_on()
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """What it said before comes first. uvloop's TLS keeps hold of this object, which must hold nothing then."""
        self._door.pass_on()
        self._connection.connection_lost(exc)
        self._door.forget(self._connection)
        del self._connection
        self.peer = None
