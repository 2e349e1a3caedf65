"""The server's connections: thousands may rest, few may be at work, and none is held by who says nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from aiohttp.test_utils import unused_port
from starlette.types import Receive, Scope, Send
from tests.controller.api_server import eventually

from carbonbudget_operator.controller.certificates import make_ca, make_leaf
from carbonbudget_operator.ingest import connection_limits
from carbonbudget_operator.ingest.burst_reader import BurstReader
from carbonbudget_operator.ingest.connection_limits import BoundedApplication

GET = b"GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class App:
    """Answers at once, or when it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Running:
    """A real uvicorn on a port; `connect` opens a connection that stays."""

    def __init__(self, server: uvicorn.Server, port: int, trust: ssl.SSLContext | None = None) -> None:
        self.server, self.port, self.trust = server, port, trust
        self.streams: list[Stream] = []

    async def connect(self) -> Stream:
        named = {"ssl": self.trust, "server_hostname": "localhost"} if self.trust else {}
        self.streams.append(await asyncio.open_connection("127.0.0.1", self.port, **named))  # type: ignore[arg-type]
        return self.streams[-1]


async def ask(stream: Stream, request: bytes = GET) -> bytes:
    """The status line; empty if the connection was cut."""
    reader, writer = stream
    writer.write(request)
    head = b""
    try:
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    return head.partition(b"\r\n")[0]


@asynccontextmanager
async def running(
    app: Callable[[Scope, Receive, Send], Awaitable[None]],
    http: Any = None,
    trust: ssl.SSLContext | None = None,
    **more: Any,
) -> AsyncIterator[Running]:
    port = unused_port()
    config = uvicorn.Config(
        app,
        port=port,
        http=http or BurstReader().connection,
        lifespan="off",
        log_config=None,
        log_level="critical",
        **more,
    )
    server = uvicorn.Server(config)
    server.capture_signals = no_signals  # type: ignore[method-assign] # pytest keeps its own
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    made = Running(server, port, trust)
    try:
        yield made
    finally:
        server.should_exit = True
        for _, writer in made.streams:
            writer.close()
        await asyncio.wait_for(task, 10)


class no_signals:  # noqa: N801 - it stands in for a method
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


async def test_any_number_of_agents_may_keep_their_connection() -> None:
    """Only what is under way counts, not what rests: 5,000 nodes have 5,000 connections."""
    async with running(BoundedApplication(App(), most=2)) as server:
        kept = [await server.connect() for _ in range(20)]
        for _ in range(2):
            assert [await ask(stream) for stream in kept] == [b"HTTP/1.1 200 OK"] * 20


async def test_an_old_connection_ends_with_an_answer_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a server that was added gets its part of the agents. A young connection stays."""
    async with running(App()) as server:
        young = await server.connect()
        assert await ask(young) == await ask(young) == b"HTTP/1.1 200 OK"
        monkeypatch.setattr(connection_limits, "_OLD_SECONDS", 0.0)
        reader, writer = await server.connect()
        writer.write(GET)
        head, _, body = (await asyncio.wait_for(reader.read(), 30)).partition(b"\r\n\r\n")  # up to its end
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert (b"connection: close" in head, body) == (True, b"ok")
        assert await ask(young) == b"HTTP/1.1 200 OK"


async def test_beyond_the_bound_of_requests_under_way_the_answer_is_to_come_again() -> None:
    app = App()
    app.go.clear()
    async with running(BoundedApplication(app, most=1)) as server:
        first, second = await server.connect(), await server.connect()
        waiting = asyncio.create_task(ask(first))
        await eventually(lambda: server.server.server_state.tasks)
        assert (await ask(second)).startswith(b"HTTP/1.1 503")
        app.go.set()
        assert await waiting == b"HTTP/1.1 200 OK"
        assert await ask(await server.connect()) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (b"", b""),
        (b"", b"GET /v1/x HT"),
        (b"", b"GET /v1/x HTTP/1.1\r\nHost: x\r\n"),
        (GET, b"GET /v1/x HT"),
        (GET, b"\r\n"),
    ],
)
async def test_who_does_not_say_what_it_wants_is_cut(
    monkeypatch: pytest.MonkeyPatch, before: bytes, said: bytes
) -> None:
    monkeypatch.setattr(connection_limits, "_HEADERS_SECONDS", 0.2)
    async with running(BoundedApplication(App())) as server:
        stream = await server.connect()
        if before:
            assert await ask(stream, before) == b"HTTP/1.1 200 OK"
        stream[1].write(said)
        assert await asyncio.wait_for(ask(stream, b""), 10) == b""


def tls(folder: Path) -> tuple[ssl.SSLContext, dict[str, str]]:
    """What a client trusts, and uvicorn's options."""
    ca = make_ca(dt.datetime.now(dt.UTC))
    leaf = make_leaf(ca, ["localhost"], dt.datetime.now(dt.UTC))
    (folder / "tls.crt").write_text(leaf.certificate)
    (folder / "tls.key").write_text(leaf.key)
    files = {"ssl_certfile": str(folder / "tls.crt"), "ssl_keyfile": str(folder / "tls.key")}
    return ssl.create_default_context(cadata=ca.certificate), files


async def test_an_agent_that_is_answered_while_the_server_ends_is_not_waited_for(tmp_path: Path) -> None:
    """It reads the TLS farewell with its next report: asyncio alone would wait 30 s."""
    trust, files = tls(tmp_path)
    app = App()
    app.go.clear()
    async with running(app, **files) as server:
        agent = await asyncio.to_thread(silent, server.port, trust)
        await eventually(lambda: server.server.server_state.tasks)
        (connection,) = server.server.server_state.connections
        server.server.should_exit = True
        await eventually(lambda: not connection.cycle.keep_alive)  # it was told that this answer is the last
        app.go.set()
        # `running` waits at most ten seconds for the end.
    agent.close()


def silent(port: int, trust: ssl.SSLContext) -> ssl.SSLSocket:
    """A client that asks and does not read."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection = trust.wrap_socket(plain, server_hostname="localhost")
    connection.sendall(GET)
    return connection
