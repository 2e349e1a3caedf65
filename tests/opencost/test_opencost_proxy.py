"""The proxy for clients without a token: it adds its own, and passes on OpenCost's paths and nothing else."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from carbonbudget_operator.controller.certificates import make_ca, make_leaf
from carbonbudget_operator.opencost.opencost_paths import IGNORED_HEADER, PATHS
from carbonbudget_operator.opencost_proxy import make_proxy_app
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.tls import trust_in


@dataclass
class Behind:
    """The server behind the proxy: what it received, and what it answers."""

    received: list[web.Request] = field(default_factory=list)
    status: int = 200
    wait: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.received.append(request)
        await self.wait.wait()
        headers = {"ETag": '"v1"', IGNORED_HEADER: "resolution", "Set-Cookie": "a=b"}
        return web.json_response({"code": self.status}, status=self.status, headers=headers)


@dataclass
class Proxied:
    """A client of the proxy, the server behind it, and the file of the proxy's token."""

    client: httpx.AsyncClient
    behind: Behind
    server: TestServer
    token: Path


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
    await server.start_server(ssl=context)
    own = ServerClient(f"https://localhost:{server.port}", token, trust_in(tmp_path / "ca.crt"))
    try:
        async with (
            TestServer(make_proxy_app(own)) as proxy,
            httpx.AsyncClient(base_url=str(proxy.make_url("/"))) as client,
        ):
            yield Proxied(client, behind, server, token)
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
