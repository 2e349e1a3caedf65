"""Who has the most connections loses its oldest: nobody is crowded out by one that opens many."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.types import Receive, Scope, Send
from tests.controller.api_server import eventually
from tests.ingest.test_connection_limits import GET, App, Running, ask, running, tls

from carbonbudget_operator.ingest import burst_reader, connection_limits
from carbonbudget_operator.ingest.burst_reader import BurstReader
from carbonbudget_operator.ingest.connection_limits import BoundedApplication, belongs_to
from carbonbudget_operator.ingest.connection_peers import ConnectionPeer, ConnectionPeers, PeerKind
from carbonbudget_operator.tls import server_context

OK = b"HTTP/1.1 200 OK"


class Line:
    """A transport that can be cut."""

    def __init__(self) -> None:
        self.is_cut = False

    def abort(self) -> None:
        self.is_cut = True


def opened(peers: ConnectionPeers, owner: str, number: int = 1) -> list[Line]:
    lines = [Line() for _ in range(number)]
    for line in lines:
        ConnectionPeer(peers, owner, line)
    return lines


def test_beyond_the_limit_the_address_with_the_most_connections_loses_its_oldest() -> None:
    peers = ConnectionPeers(400)  # 50 strangers
    one, many = opened(peers, "10.0.0.1"), opened(peers, "10.0.0.2", 60)
    assert not one[0].is_cut
    assert [line.is_cut for line in many] == [True] * 11 + [False] * 49
    assert peers.cut == 11


def test_strangers_take_no_connection_of_an_agent_or_of_another_caller() -> None:
    peers = ConnectionPeers(400)
    kept = [Line(), Line()]
    ConnectionPeer(peers, "10.0.0.1", kept[0]).belongs_to(PeerKind.AGENT, "node-1")
    ConnectionPeer(peers, "10.0.0.1", kept[1]).belongs_to(PeerKind.CALLER, "namespace team-a")
    opened(peers, "10.0.0.1", 1000)
    assert [line.is_cut for line in kept] == [False, False]


def test_pods_that_keep_connections_take_none_of_an_agent_or_of_a_person() -> None:
    """Nor do those of a namespace with many pods take one of a namespace with few."""
    peers = ConnectionPeers(400)  # 57 pods
    kept = [Line(), Line(), Line()]
    ConnectionPeer(peers, "10.0.0.1", kept[0]).belongs_to(PeerKind.AGENT, "node-1")
    ConnectionPeer(peers, "10.0.0.1", kept[1]).belongs_to(PeerKind.CALLER, "jane")
    ConnectionPeer(peers, "10.0.0.1", kept[2]).belongs_to(PeerKind.POD, "namespace team-a")
    for _ in range(100):
        ConnectionPeer(peers, "10.0.0.1", Line()).belongs_to(PeerKind.POD, "namespace team-b")
    assert [line.is_cut for line in kept] == [False] * 3
    assert peers.cut == 44


def test_one_node_keeps_its_latest_connections() -> None:
    peers = ConnectionPeers(400)
    lines = [Line() for _ in range(20)]
    for line in lines:
        ConnectionPeer(peers, "10.0.0.1", line).belongs_to(PeerKind.AGENT, "node-1")
    assert [line.is_cut for line in lines] == [True] * 4 + [False] * 16


def test_who_left_or_was_cut_is_counted_no_more() -> None:
    peers = ConnectionPeers(400)
    line = Line()
    first = ConnectionPeer(peers, "10.0.0.1", line)
    opened(peers, "10.0.0.1", 50)
    assert line.is_cut
    first.left()
    first.belongs_to(PeerKind.AGENT, "node-1")  # its last request was under way
    for _ in range(100):
        ConnectionPeer(peers, "10.0.0.3", Line()).left()
    assert peers.cut == 2  # the first of the hundred took a place, and gave it back


def on_tls(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test on the real server's loop, with its own TLS: `serve` takes an application and `peers`."""

    def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trust, files = tls(tmp_path)
        context = server_context(Path(files["ssl_certfile"]), Path(files["ssl_keyfile"]))

        def serve(app: Any = None, peers: ConnectionPeers | None = None) -> AbstractAsyncContextManager[Running]:
            return running(BoundedApplication(app or App()), http=BurstReader(context, peers).connection, trust=trust)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test(serve, monkeypatch))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


Serve = Callable[..., AbstractAsyncContextManager[Running]]


async def ended(connection: socket.socket) -> None:
    """The other side has closed or reset it."""
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 1), 10)
    except ConnectionError:
        pass


def silent(server: Running, number: int, said: bytes = b"") -> list[socket.socket]:
    """Connections that never finish their handshake."""
    made = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(number)]
    for connection in made:
        connection.setblocking(False)
        connection.sendall(said) if said else None
    return made


class Known(App):
    """Every request is of an agent's node."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        belongs_to(scope, PeerKind.AGENT, "node-1")
        await super().__call__(scope, receive, send)


@on_tls
async def test_handshakes_that_never_end_keep_no_agent_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = ConnectionPeers(80)  # 10 strangers
    async with serve(Known(), peers) as server:
        agent = await server.connect()
        assert await ask(agent) == OK
        held = silent(server, 200, b"\x16\x03\x01")
        await eventually(lambda: peers.cut >= 190)
        assert await ask(agent) == OK
        assert await ask(await server.connect()) == OK
        for connection in held:
            connection.close()


@on_tls
async def test_a_handshake_that_does_not_end_in_time_is_cut(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst_reader, "_HANDSHAKE_SECONDS", 0.2)
    async with serve() as server:
        for connection in silent(server, 3) + silent(server, 3, b"\x16\x03\x01") + silent(server, 3, b"no TLS at all"):
            await ended(connection)
            connection.close()
        assert await ask(await server.connect()) == OK


@on_tls
async def test_clients_that_break_off_their_handshake_leave_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = ConnectionPeers(80)
    async with serve(Known(), peers) as server:
        distrustful = ssl.create_default_context()
        for _ in range(30):
            for connection in silent(server, 1):
                connection.close()
            with pytest.raises(ssl.SSLError):
                await asyncio.open_connection("127.0.0.1", server.port, ssl=distrustful, server_hostname="localhost")
        kept = [await server.connect() for _ in range(10)]
        assert [await ask(stream) for stream in kept] == [OK] * 10
        assert peers.cut == 0


@on_tls
async def test_requests_in_the_handshakes_last_flight_are_answered(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS 1.3 lets a client say the end of the handshake and its first request at once."""
    async with serve() as server:
        answers = await asyncio.gather(*(asyncio.to_thread(at_once, server.port, server.trust) for _ in range(20)))
        assert answers == [OK] * 20


def at_once(port: int, trust: ssl.SSLContext | None, request: bytes = GET) -> bytes:
    assert trust is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        client.write(request)
        plain.sendall(outgoing.read())
        while True:
            try:
                return client.read(4096).partition(b"\r\n")[0]
            except ssl.SSLWantReadError:
                incoming.write(plain.recv(65536))


@on_tls
async def test_a_connection_that_ended_leaves_nothing_for_the_garbage_collector(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds a quarter of a megabyte of TLS, anybody may make thousands, and cycles are looked for seldom."""
    monkeypatch.setattr(connection_limits, "_UNREAD_SECONDS", 0.05)
    made: list[weakref.ref[object]] = []
    first = connection_limits.ClientConnection.connection_made

    def seen(self: connection_limits.ClientConnection, transport: Any) -> None:
        made.extend(weakref.ref(held) for held in (self, self.peer))
        first(self, transport)

    monkeypatch.setattr(connection_limits.ClientConnection, "connection_made", seen)
    unread = b"POST /v1/x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b" " * 100_000
    async with serve(Known()) as server:
        gc.collect()
        gc.disable()
        try:
            for request in (GET, unread) * 3:
                assert await asyncio.to_thread(at_once, server.port, server.trust, request) == OK
            for connection in silent(server, 3, b"\x16\x03\x01"):
                connection.close()
            await eventually(lambda: not server.server.server_state.connections)
            await eventually(lambda: not any(ref() for ref in made) and not tls_of_uvloop())
        finally:
            gc.enable()
    assert len(made) == 12


def tls_of_uvloop() -> int:
    """Connections' TLS that is in memory: it takes no weak reference."""
    return sum(type(held).__name__ in ("SSLProtocol", "_SSLProtocolTransport") for held in gc.get_objects())


@pytest.mark.parametrize(
    "said",
    [
        b"GET /v1/x HTTP/1.1\r\nA: " + b"a" * 300_000,
        b"GET /" + b"a" * 300_000,
        b"GET /v1/x HTTP/1.1\r\n" + b"A: b\r\n" * 60_000,
        b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 300_000,
        b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + b"A: b\r\n" * 60_000,
        GET * 5_000,
    ],
    ids=["header", "path", "headers", "chunk extension", "trailers", "pipelined requests"],
)
async def test_what_is_no_body_has_a_limit_of_its_own(said: bytes) -> None:
    """uvicorn keeps heads, trailers and requests that wait for their turn, however many there are."""
    app = App()
    app.go.clear()
    async with running(BoundedApplication(app)) as server:
        reader, writer = await server.connect()
        writer.write(said)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        app.go.set()
        assert await ask(await server.connect()) == OK


async def test_who_does_not_take_its_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "_ANSWER_SECONDS", 0.2)

    async def much(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b" " * 2**25, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with running(much) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(GET)
            await eventually(lambda: server.server.server_state.tasks)
            await eventually(lambda: not server.server.server_state.connections)


async def test_a_body_that_nobody_wants_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes, then the connection ends: to read on and throw away is work for whoever wants to make some."""
    monkeypatch.setattr(connection_limits, "_UNREAD_SECONDS", 0.2)
    async with running(BoundedApplication(App())) as server:
        reader, writer = await server.connect()
        writer.write(b"POST /v1/x HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).strip() == OK

        async def flood() -> None:
            while True:
                writer.write(b" " * 2**16)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(), 10)
        assert await ask(await server.connect()) == OK


async def test_a_request_whose_body_still_comes_is_not_cut_by_the_answer_to_the_one_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_limits, "_UNREAD_SECONDS", 0)
    got: list[int] = []

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        more, size = True, 0
        while more:
            message = await receive()
            more, size = message.get("more_body", False), size + len(message.get("body", b""))
        got.append(size)
        await App()(scope, receive, send)

    async with running(BoundedApplication(reads)) as server:
        stream = await server.connect()
        stream[1].write(GET + b"POST /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
        assert await ask(stream, b"") == OK
        assert await ask(stream, b"b") == OK
    assert got == [0, 2]
