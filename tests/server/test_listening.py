"""All programs listen on all addresses of both families, and a client has one address whatever socket it came by."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import pytest
import typer
from aiohttp import web
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from tests.prometheus import free_port

from carbonbudget_operator.bounded_listener import ConnectionMetrics, Listener, ListenerBounds
from carbonbudget_operator.cli.common_options import address
from carbonbudget_operator.controller.liveness_probe import serve_probe
from carbonbudget_operator.ingest.burst_reader import BurstReader
from carbonbudget_operator.peer_address import address_of
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.web.run import _server

HAS_IPV6 = socket.has_dualstack_ipv6()
BOTH = ["127.0.0.1", pytest.param("[::1]", marks=pytest.mark.skipif(not HAS_IPV6, reason="no IPv6"))]
Listening = Callable[[str, int], AbstractAsyncContextManager[None]]


class WithoutIPv6(socket.socket):
    """What a kernel without IPv6 gives."""

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        super().__init__(family, type, proto, fileno)


@asynccontextmanager
async def by_bounded_listener(host: str, port: int) -> AsyncIterator[None]:
    """The webhook's listener, and the proxy's for OpenCost."""

    async def answer(request: web.Request) -> web.Response:
        (one,) = listener._connections.values()
        return web.Response(text=one.peer)

    app = web.Application()
    app.router.add_get("/healthz", answer)
    listener = Listener("t", app, ListenerBounds(8), ConnectionMetrics(CollectorRegistry()))
    await listener.start(host, port)
    try:
        yield
    finally:
        await listener.close()


@asynccontextmanager
async def by_uvicorn(host: str, port: int) -> AsyncIterator[None]:
    """The server's and the page's listener."""
    reader = BurstReader()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        (counted,) = reader.peers.strangers._counts
        assert counted == address_of(Request(scope).client)
        await PlainTextResponse(counted)(scope, receive, send)

    server = _server(app, (host, port), reader)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(60):
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def by_probe(host: str, port: int) -> AsyncIterator[None]:
    """The controller's listener."""
    runner = await serve_probe(host, port, CollectorRegistry(), [])
    try:
        yield
    finally:
        await runner.cleanup()


ALL = [by_bounded_listener, by_uvicorn, by_probe]


async def asked(host: str, port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/healthz") as answer:
        assert answer.status == 200
        return await answer.text()


@pytest.mark.parametrize("host", BOTH)
@pytest.mark.parametrize("listening", ALL)
async def test_without_an_address_a_program_answers_at_those_of_both_families(listening: Listening, host: str) -> None:
    port = free_port()
    async with listening("", port):
        assert await asked(host, port) in (host.strip("[]"), "ok")  # ok is the probe's


@pytest.mark.parametrize("listening", ALL)
async def test_a_kernel_without_ipv6_is_no_obstacle(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", WithoutIPv6)
    port = free_port()
    async with listening("", port):
        assert await asked("127.0.0.1", port) in ("127.0.0.1", "ok")


@pytest.mark.parametrize(
    ("peername", "shown"),
    [
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8::1", 1, 0, 0), "2001:db8::1"),
        (("::ffff:0:1", 1, 0, 0), "::ffff:0:1"),
        (None, ""),
        ("a unix socket", ""),
    ],
)
def test_an_ipv4_client_of_a_socket_of_both_families_has_its_ipv4_address(peername: object, shown: str) -> None:
    assert address_of(peername) == shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [(":8443", ("", 8443)), ("[::1]:1", ("::1", 1)), ("[::]:65535", ("::", 65535)), ("127.0.0.1:1", ("127.0.0.1", 1))],
)
def test_an_address_to_listen_at_is_host_and_port(given: str, expected: tuple[str, int]) -> None:
    assert address(given) == expected


@pytest.mark.parametrize("given", ["8443", "", ":", ":0", ":65536", "x:", "[::1]", ":²"])
def test_what_is_no_address_to_listen_at_is_refused_in_a_sentence(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        address(given)
    assert ended.value.exit_code == 2
    assert "listen must be ADDRESS:PORT, or :PORT for all addresses, not" in capsys.readouterr().err


def test_by_default_every_program_listens_at_all_addresses() -> None:
    settings = Settings()
    every = [settings.server.listen, settings.controller.listen, settings.admission.listen, settings.web.listen]
    every += [settings.admission.metrics_listen, settings.web.metrics_listen]
    assert {address(one)[0] for one in every} == {""}
