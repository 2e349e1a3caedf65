"""How what connections say comes in: read without waste, and while many speak, in bursts.

A report that comes by itself finds the processor's caches cold: TLS, HTTP and our own code each cost several times
what they cost right after the same work was done for another one. While many agents send, what they say is let gather
for a tenth of a second; from there on all is done for a burst of reports at a time
(docs/design/2026-11-25-ingest.md).
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from carbonbudget_operator.ingest.connections import Connection

# One agent that sends one report after the other is never made to wait, nor are a few.
_SEVERAL = 8
_GATHER_SECONDS = 0.1
_MOST_BYTES = 1 << 20


class Door:
    """All connections of one server; `connection` is what uvicorn calls for each."""

    def __init__(self) -> None:
        # Emptied before anybody else reads: both calls come from one turn of the one loop.
        self.buffer = memoryview(bytearray(64 * 1024))
        self._spoke: set[Connection] = set()
        self._until = 0.0
        self._gathering = False
        self._said: list[tuple[Connection, bytes]] = []
        self._size = 0

    def connection(self, *args: Any, **options: Any) -> asyncio.BufferedProtocol:
        """One that was made; uvicorn's arguments."""
        connection = Connection(*args, **options)
        connection.bring = self.pass_on
        return _Reading(self, connection)

    def hear(self, connection: Connection, size: int) -> None:
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

    def forget(self, connection: Connection) -> None:
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


class _Reading(asyncio.BufferedProtocol):
    """One connection, read into the buffer of all.

    Asked for bytes, uvloop's TLS takes 256 KiB for each piece that came and gives back what was not needed: to look for
    such a place between thousands of connections' own buffers was an eighth of a request's time.
    """

    def __init__(self, door: Door, connection: Connection) -> None:
        self._door, self._connection = door, connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As its connection has it."""
        self._connection.connection_made(cast("asyncio.Transport", transport))

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
