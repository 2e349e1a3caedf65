"""Whoever reaches the port holds neither more connections than there may be nor any for longer than it takes to ask."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from carbonbudget_operator.bounded_listener import ConnectionMetrics, Listener, ListenerBounds
from carbonbudget_operator.controller.certificates import make_ca, make_leaf
from carbonbudget_operator.tls import server_context

HALF_A_BODY = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
ASKS = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MANY = ListenerBounds(8)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    directory: Path = tmp_path_factory.mktemp("tls")
    now = dt.datetime.now(dt.UTC)
    leaf = make_leaf(make_ca(now), ["localhost"], now)
    (directory / "tls.crt").write_text(leaf.certificate)
    (directory / "tls.key").write_text(leaf.key)
    return server_context(directory / "tls.crt", directory / "tls.key")


class Served:
    """A listener of an application that answers with the length of what it was sent."""

    def __init__(self, listener: Listener, registry: CollectorRegistry) -> None:
        self.listener, self.registry = listener, registry
        self.open: list[asyncio.StreamWriter] = []

    async def connect(self, said: bytes = b"", *, tls: bool = True, source: str = "127.0.0.1") -> Streams:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.listener.port, ssl=trust if tls else None, local_addr=(source, 0)
        )
        self.open.append(writer)
        writer.write(said)
        await writer.drain()
        return reader, writer

    def figure(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"carbonbudget_listener_{name}", {"listener": "t", **labels}) or 0

    def ended(self, reason: str) -> float:
        return self.figure("connections_ended_total", reason=reason)


@asynccontextmanager
async def serving(bounds: ListenerBounds, context: ssl.SSLContext | None) -> AsyncIterator[Served]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app = web.Application()
    app.router.add_post("/x", answer)
    registry = CollectorRegistry()
    listener = Listener("t", app, bounds, ConnectionMetrics(registry), context)
    await listener.start("127.0.0.1", 0)
    served = Served(listener, registry)
    try:
        async with asyncio.timeout(30):
            yield served
    finally:
        for writer in served.open:
            writer.transport.abort()
        await listener.close()


async def status(streams: Streams) -> bytes:
    return (await streams[0].readline()).split()[1]


async def is_over(streams: Streams) -> bool:
    try:
        await streams[0].read()
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("said", [b"", b"POST /x HT", HALF_A_BODY], ids=["nothing", "half a head", "half a body"])
async def test_a_request_is_answered_however_many_others_are_half_said(context: ssl.SSLContext, said: bytes) -> None:
    async with serving(MANY, context) as served:
        for _ in range(50):
            await served.connect(said)
        assert await status(await served.connect(ASKS)) == b"200"
        assert served.figure("connections") == MANY.connections
        assert served.ended("full") == 51 - MANY.connections


async def test_connections_count_before_their_handshake(context: ssl.SSLContext) -> None:
    async with serving(MANY, context) as served:
        held = [await served.connect(tls=False) for _ in range(50)]
        assert await status(await served.connect(ASKS)) == b"200"
        assert await is_over(held[0])
        assert served.figure("connections") == MANY.connections
        assert served.ended("full") == 51 - MANY.connections


async def test_the_first_to_end_is_of_the_address_that_holds_most(context: ssl.SSLContext) -> None:
    async with serving(MANY, context) as served:
        idle = await served.connect(ASKS, source="127.0.0.2")
        assert await status(idle) == b"200"
        for _ in range(50):
            await served.connect(HALF_A_BODY)
        idle[1].write(ASKS)
        await idle[0].readuntil(b"\r\n\r\n2")  # the rest of the first answer
        assert await status(idle) == b"200"


async def test_the_first_to_end_is_the_one_that_went_longest_without_a_step(context: ssl.SSLContext) -> None:
    async with serving(MANY, context) as served:
        asked, *half = [await served.connect() for _ in range(MANY.connections)]
        asked[1].write(ASKS)
        assert await status(asked) == b"200"
        await served.connect()
        assert await is_over(half[0])
        asked[1].write(ASKS)
        await asked[0].readuntil(b"\r\n\r\n2")
        assert await status(asked) == b"200"


@pytest.mark.parametrize("said", [b"", b"POST /x HTTP/1.1\r\nHost:", HALF_A_BODY, ASKS])
@pytest.mark.parametrize("tls", [True, False])
async def test_nobody_stays_for_longer_than_it_takes_to_ask(context: ssl.SSLContext, said: bytes, tls: bool) -> None:
    bounds = ListenerBounds(8, head_seconds=0.3, body_seconds=0.2, idle_seconds=0.2)
    async with serving(bounds, context if tls else None) as served:
        assert await is_over(await served.connect(said, tls=tls))


async def test_a_handshake_that_is_not_finished_ends(context: ssl.SSLContext) -> None:
    async with serving(ListenerBounds(8, head_seconds=0.3), context) as served:
        assert await is_over(await served.connect(b"\x16\x03\x01", tls=False))


async def test_what_speaks_no_tls_is_ended_and_counted_and_the_next_is_served(context: ssl.SSLContext) -> None:
    async with serving(MANY, context) as served:
        assert await is_over(await served.connect(b"GET / HTTP/1.1\r\n\r\n", tls=False))
        assert await status(await served.connect(ASKS)) == b"200"
        assert served.ended("failed") == 1


async def test_ended_connections_are_neither_counted_nor_kept_open(context: ssl.SSLContext) -> None:
    async with serving(MANY, context) as served:
        before = len(os.listdir("/proc/self/fd"))
        for tls in (True, False) * 20:
            _, writer = await served.connect(tls=tls)
            writer.transport.abort()
        await served.connect(ASKS)
        while served.figure("connections") > 1 or len(os.listdir("/proc/self/fd")) > before + 2:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "said",
    [
        b"POST /x HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(40)) + b"\r\n",
        b"POST /x HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"POST /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["many headers", "a long one", "a long line"],
)
async def test_a_head_has_a_bound_and_nothing_is_logged(
    context: ssl.SSLContext, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(MANY, context) as served:
        assert await status(await served.connect(said)) == b"400"
        assert not [one for one in caplog.records if one.exc_info or one.levelname in ("WARNING", "ERROR")]


@pytest.mark.parametrize(
    "said",
    [
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        + b"".join(b"X-%d: y\r\n" % n for n in range(60))
        + b"\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX: " + b"y" * 15_000 + b"\r\n\r\n",
        b"POST /x?" + b"x" * 15_000 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["many headers", "a long one", "a long line"],
)
async def test_a_listener_may_have_larger_bounds_of_a_head(context: ssl.SSLContext, said: bytes) -> None:
    large = ListenerBounds(8, line_bytes=16_384, field_bytes=16_384, headers=64)
    async with serving(large, context) as served:
        assert await status(await served.connect(said)) == b"200"
    async with serving(MANY, context) as served:
        assert await status(await served.connect(said)) == b"400"


async def test_an_error_of_the_application_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("broken")

    app = web.Application()
    app.router.add_post("/x", broken)
    listener = Listener("t", app, MANY, ConnectionMetrics(CollectorRegistry()))
    await listener.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(ASKS)
        assert await status((reader, writer)) == b"500"
        writer.transport.abort()
    finally:
        await listener.close()
    assert [one.exc_info[0] for one in caplog.records if one.exc_info] == [RuntimeError]
