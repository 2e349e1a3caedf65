"""`carbonbudget web` as a process over TLS, and a small server behind it that answers for `carbonbudget server`."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aiohttp import web
from aiohttp.test_utils import unused_port
from tests.web.budget_answers import NOW
from tests.web.data_answers import intensity

from carbonbudget_operator.controller.certificates import make_ca, make_leaf

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class AskedServer:
    """Answers for tokens "token-NAME" and refuses others, or answers as `answer` does. `asked`: all requests."""

    port: int = 0
    answer: Answer | None = None
    asked: list[web.BaseRequest] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.answer is not None:
            return await self.answer(request)
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        kind, _, name = self.tokens[-1].partition("-")
        if kind != "token":
            return web.json_response({"detail": "the token is expired"}, status=401)
        if request.path == "/api/v1/intensity":
            return web.json_response(intensity(["DE"], NOW))
        return web.json_response({"user": name, "groups": [], "all_namespaces": False, "namespaces": []})


@asynccontextmanager
async def asked_server(directory: Path) -> AsyncIterator[AskedServer]:
    """A server whose CA is in `ca.crt`; `tls.crt` and `tls.key` are its certificate, for localhost."""
    ca = make_ca(dt.datetime.now(dt.UTC))
    leaf = make_leaf(ca, ["localhost"], dt.datetime.now(dt.UTC))
    for name, text in (("ca.crt", ca.certificate), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)):
        (directory / name).write_text(text)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    server, app = AskedServer(), web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0, ssl_context=context).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass
class WebProcess:
    """The process, where it listens, and a browser that trusts it."""

    process: asyncio.subprocess.Process
    port: int
    metrics_port: int
    browser: httpx.AsyncClient

    async def sign_in(self, token: str) -> httpx.Response:
        headers = {"Origin": f"https://localhost:{self.port}"}
        return await self.browser.post("/signin", data={"token": token, "next": "/"}, headers=headers)


@asynccontextmanager
async def web_process(directory: Path, server_port: int, **settings: object) -> AsyncIterator[WebProcess]:
    """The running command, with the certificate of `asked_server`; `settings` are of the section `web`."""
    port, metrics_port = unused_port(), unused_port()
    own = {
        "listen": f"127.0.0.1:{port}", "metrics_listen": f"127.0.0.1:{metrics_port}",
        "server_url": f"https://localhost:{server_port}", "server_ca": f"{directory}/ca.crt",
        "tls_cert": f"{directory}/tls.crt", "tls_key": f"{directory}/tls.key",
    } | settings  # fmt: skip
    (directory / "web.json").write_text(json.dumps({"web": own}))
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("carbonbudget"), "web", "--config", directory / "web.json"),
        env=os.environ, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    browser = httpx.AsyncClient(verify=context, base_url=f"https://localhost:{port}", trust_env=False)
    try:
        async with browser:
            await eventually_ready(browser)
            yield WebProcess(process, port, metrics_port, browser)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def eventually_ready(browser: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await browser.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
