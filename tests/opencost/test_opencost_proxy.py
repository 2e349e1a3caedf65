"""The proxy for clients without a token: it adds its own, and passes on OpenCost's paths and nothing else."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from carbonbudget_operator.bounded_listener import ConnectionMetrics, Listener, ListenerBounds
from carbonbudget_operator.controller.certificates import make_ca, make_leaf
from carbonbudget_operator.opencost.opencost_paths import IGNORED_HEADER, PATHS
from carbonbudget_operator.opencost_proxy import PROXY_BOUNDS, make_proxy_app, proxy_listener
from carbonbudget_operator.server_client import PERSONS_SECONDS, ServerClient
from carbonbudget_operator.tls import trust_in


@dataclass
class Behind:
    """The server behind the proxy: what it received, and what it answers."""

    received: list[web.Request] = field(default_factory=list)
    status: int = 200
    size: int = 0  # bytes that are added to the answer
    wait: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.received.append(request)
        await self.wait.wait()
        headers = {"ETag": '"v1"', IGNORED_HEADER: "resolution", "Set-Cookie": "a=b"}
        return web.json_response({"code": self.status, **self.more()}, status=self.status, headers=headers)

    def more(self) -> dict[str, str]:
        return {"more": "x" * self.size} if self.size else {}


@dataclass
class Proxied:
    """A client of the proxy, the server behind it, and the file of the proxy's token."""

    client: httpx.AsyncClient
    behind: Behind
    server: TestServer
    token: Path
    own: ServerClient


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[Proxied]:
    ca = make_ca(dt.datetime.now(dt.UTC))
    leaf = make_leaf(ca, ["127.0.0.1", "localhost"], dt.datetime.now(dt.UTC))
    for name, text in (("ca.crt", ca.certificate), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)):
        (tmp_path / name).write_text(text)
    token = tmp_path / "token"
    token.write_text("first\n")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    behind = Behind()
    behind.wait.set()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", behind.answer)
    server = TestServer(app, host="localhost", scheme="https")
    await server.start_server(ssl=context, max_line_size=16_384)
    own = ServerClient(f"https://localhost:{server.port}", token, trust_in(tmp_path / "ca.crt"))
    try:
        async with (
            TestServer(make_proxy_app(own)) as proxy,
            httpx.AsyncClient(base_url=str(proxy.make_url("/"))) as client,
        ):
            yield Proxied(client, behind, server, token, own)
    finally:
        await server.close()


async def test_it_adds_its_own_token_and_passes_on_no_other_header(proxied: Proxied) -> None:
    headers = {"Authorization": "Bearer mine", "X-Carbonbudget-Token": "mine", "Cookie": "a=b", "If-None-Match": '"v0"'}
    answer = await proxied.client.get("/allocation?window=7d&filter=namespace:%22a%22%2Bpod:%22b%22", headers=headers)
    (received,) = proxied.behind.received
    assert answer.status_code == 200
    assert received.headers["Authorization"] == "Bearer first"
    assert received.headers["If-None-Match"] == '"v0"'
    assert not {"X-Carbonbudget-Token", "Cookie"} & set(received.headers)
    assert received.query == {"window": "7d", "filter": 'namespace:"a"+pod:"b"'}
    assert answer.headers["ETag"] == '"v1"'
    assert answer.headers[IGNORED_HEADER] == "resolution"
    assert "Set-Cookie" not in answer.headers


async def test_a_renewed_token_is_used_at_once(proxied: Proxied) -> None:
    await proxied.client.get("/allocation")
    proxied.token.write_text("second")
    await proxied.client.get("/allocation")
    assert [one.headers["Authorization"] for one in proxied.behind.received] == ["Bearer first", "Bearer second"]


async def test_only_the_paths_of_opencost_are_passed_on(proxied: Proxied) -> None:
    for path in PATHS:
        assert (await proxied.client.get(path)).status_code == 200, path
    received = len(proxied.behind.received)
    for path in ("/", "/api/v1/emissions", "/metrics", "/v1/report", "/allocation/../metrics", "/allocation/%2e%2e/x"):
        assert (await proxied.client.get(path)).status_code == 404, path
    for method in ("POST", "PUT", "DELETE", "HEAD"):
        assert (await proxied.client.request(method, "/allocation")).status_code == 405, method
    assert len(proxied.behind.received) == received
    assert (await proxied.client.get("/healthz")).text == "ok"


async def test_the_servers_errors_are_passed_on(proxied: Proxied) -> None:
    for status in (304, 400, 403, 422, 503):
        proxied.behind.status = status
        assert (await proxied.client.get("/allocation")).status_code == status


async def test_the_command_serves_until_it_is_told_to_end(proxied: Proxied, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "carbonbudget"), "opencost-proxy", "--listen", f"127.0.0.1:{port}",
        "--server-url", f"https://localhost:{proxied.server.port}", "--server-ca", str(tmp_path / "ca.crt"),
        "--server-token-file", str(proxied.token),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command)
    try:
        transport = httpx.AsyncHTTPTransport(retries=10)  # with a pause that grows, until it listens
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/model/allocation/compute?window=7d", timeout=30)
        assert answer.json() == {"code": 200}
        assert proxied.behind.received[-1].headers["Authorization"] == "Bearer first"
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_server_that_is_away_is_an_error_in_opencosts_form(proxied: Proxied) -> None:
    await proxied.server.close()
    answer = await proxied.client.get("/allocation")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["status"] == "error"


async def test_too_many_requests_at_once_are_refused_and_the_others_answered(proxied: Proxied) -> None:
    proxied.behind.wait.clear()
    asked = [asyncio.create_task(proxied.client.get("/allocation", timeout=30)) for _ in range(40)]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert {one.result().status_code for one in done} == {503}
    proxied.behind.wait.set()
    statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
    assert statuses.count(200) == 32
    assert statuses.count(503) == 8


@asynccontextmanager
async def listening(listener: Listener) -> AsyncIterator[httpx.AsyncClient]:
    await listener.start("127.0.0.1", 0)
    try:
        async with (
            asyncio.timeout(30),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.port}", timeout=30) as client,
        ):
            yield client
    finally:
        await listener.close()


@asynccontextmanager
async def asks_and_does_not_read(client: httpx.AsyncClient) -> AsyncIterator[socket.socket]:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", client.base_url.port))
        await loop.sock_sendall(sock, b"GET /allocation HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        yield sock


async def read_all(sock: socket.socket) -> int:
    """The bytes until the connection ends, however it does."""
    size = 0
    try:
        while part := await asyncio.get_running_loop().sock_recv(sock, 2**16):
            size += len(part)
    except ConnectionError:
        pass
    return size


async def received(proxied: Proxied, count: int) -> None:
    while len(proxied.behind.received) < count:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.01)


async def test_an_answer_that_takes_longer_than_the_webhooks_bound_arrives(proxied: Proxied) -> None:
    assert PROXY_BOUNDS.body_seconds > 30 + PERSONS_SECONDS + 30
    proxied.behind.wait.clear()
    short = ListenerBounds(8, body_seconds=0.2)
    cut = Listener("short", make_proxy_app(proxied.own), short, ConnectionMetrics(CollectorRegistry()))
    async with listening(proxy_listener(proxied.own)) as client, listening(cut) as other:
        asked = asyncio.create_task(client.get("/allocation"))
        await received(proxied, 1)
        with pytest.raises(httpx.TransportError):
            await other.get("/allocation")
        assert not asked.done()
        proxied.behind.wait.set()
        assert (await asked).status_code == 200


async def test_a_browsers_headers_and_the_longest_filter_pass(proxied: Proxied) -> None:
    headers = {"Cookie": "a=" + "b" * 12_000} | {f"X-{number}": "y" for number in range(50)}
    async with listening(proxy_listener(proxied.own)) as client:
        answer = await client.get("/allocation?window=7d&filter=" + "%22" * 4_000, headers=headers)
        assert answer.status_code == 200
        assert len(proxied.behind.received[-1].query["filter"]) == 4_000


async def test_a_question_has_its_turn_until_its_answer_is_read(proxied: Proxied) -> None:
    proxied.behind.size = 8 * 2**20
    async with (
        listening(proxy_listener(proxied.own, turn_seconds=0.3)) as client,
        asks_and_does_not_read(client) as first,
        asks_and_does_not_read(client),
        asks_and_does_not_read(client),
        asks_and_does_not_read(client),
    ):
        await received(proxied, 4)
        refused = await client.get("/allocation")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert len(proxied.behind.received) == 4
        assert await read_all(first) > proxied.behind.size
        answer = await client.get("/allocation")
        assert len(answer.json()["more"]) == proxied.behind.size


async def test_who_does_not_read_is_cut_off_and_the_next_is_answered(
    proxied: Proxied, caplog: pytest.LogCaptureFixture
) -> None:
    proxied.behind.size = 8 * 2**20
    async with (
        listening(proxy_listener(proxied.own, write_seconds=0.3)) as client,
        asks_and_does_not_read(client) as first,
        asks_and_does_not_read(client),
        asks_and_does_not_read(client),
        asks_and_does_not_read(client),
    ):
        await received(proxied, 4)
        proxied.behind.size = 0
        assert (await client.get("/allocation")).json() == {"code": 200}
        assert await read_all(first) < 8 * 2**20
    assert not [one for one in caplog.records if one.exc_info]


async def test_no_more_is_read_of_a_connection_whose_question_waits(proxied: Proxied) -> None:
    proxied.behind.wait.clear()
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 15_000) for n in range(60))
    async with listening(proxy_listener(proxied.own)) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        try:
            writer.write(b"GET /allocation HTTP/1.1\r\nHost: x\r\n\r\n")
            await received(proxied, 1)
            writer.write((head + b"\r\n") * 18)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 1)
            proxied.behind.wait.set()
            for _ in range(19):
                assert (await reader.readuntil(b"\r\n\r\n")).partition(b"HTTP/1.1 ")[2][:3] == b"200"
        finally:
            writer.transport.abort()
