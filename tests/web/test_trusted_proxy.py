"""A proxy that signs users in: web page and server as processes, with certificates, over TLS.

The API server is a stub: "ann@team-a" may read the namespace team-a, "root@*" all.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from tests.cli.test_server import kubeconfig
from tests.server.server_face import ApiServer
from tests.web.web_process import eventually_ready

from carbonbudget_operator.controller.certificates import CertificatePair, make_ca, make_leaf

PROXY = "proxy.example.org"
OTHER = "/emissions?filter=namespace%3Dteam-b"  # not for ann
WEB = "localhost"  # the common name of the page's certificate


@dataclass
class Chain:
    """The running page and server. `page` and `server` are addresses, `base` has the certificates."""

    page: str
    server: str
    base: Path

    def client(self, where: str, certificate: str = "") -> httpx.AsyncClient:
        """A client with one of the certificates `proxy`, `stranger`, `other`, `web`, or without one."""
        context = ssl.create_default_context(cafile=str(self.base / "ca.crt"))
        if certificate:
            context.load_cert_chain(self.base / f"{certificate}.crt", self.base / f"{certificate}.key")
        return httpx.AsyncClient(verify=context, base_url=where, trust_env=False, timeout=30)


def write(base: Path, name: str, pair: CertificatePair) -> None:
    (base / f"{name}.crt").write_text(pair.certificate)
    (base / f"{name}.key").write_text(pair.key)


def write_certificates(base: Path) -> None:
    """Two CAs: carbonbudget's own, and that of proxies."""
    now = dt.datetime.now(dt.UTC)
    own, proxies = make_ca(now), make_ca(now)
    write(base, "ca", own)
    write(base, "proxies", proxies)
    write(base, "tls", make_leaf(own, [WEB], now, client=True))
    write(base, "web", make_leaf(own, [WEB], now, client=True))
    write(base, "proxy", make_leaf(proxies, [PROXY], now, client=True))
    write(base, "stranger", make_leaf(proxies, ["stranger.example.org"], now, client=True))
    write(base, "other", make_leaf(own, ["carbonbudget-admission.carbonbudget-system.svc"], now, client=True))
    write(base, "only-server", make_leaf(own, [WEB], now))


@asynccontextmanager
async def process(*command: object, **environment: str) -> AsyncIterator[None]:
    started = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("carbonbudget")), *map(str, command), env=os.environ | environment
    )
    try:
        yield
    finally:
        started.terminate()
        await started.wait()


@asynccontextmanager
async def chain(base: Path) -> AsyncIterator[Chain]:
    """Both processes, and the stub of the API server."""
    write_certificates(base)
    api = ApiServer()
    app = web.Application()
    app.router.add_post("/{path:.*}", api.answer)
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports = [unused_port() for _ in range(3)]
        pair = {"tls_cert": f"{base}/tls.crt", "tls_key": f"{base}/tls.key"}
        server = pair | {
            "listen": f"127.0.0.1:{ports[0]}", "ledger": f"sqlite:///{base}/ledger.db",
            "request_header_ca": f"{base}/ca.crt", "request_header_names": [WEB],
        }  # fmt: skip
        page = pair | {
            "listen": f"127.0.0.1:{ports[1]}", "metrics_listen": f"127.0.0.1:{ports[2]}",
            "server_url": f"https://localhost:{ports[0]}", "server_ca": f"{base}/ca.crt",
            "proxy_ca": f"{base}/proxies.crt", "proxy_names": [PROXY],
            "client_cert": f"{base}/web.crt", "client_key": f"{base}/web.key",
        }  # fmt: skip
        (base / "config.json").write_text(json.dumps({"server": server, "web": page}))
        config = kubeconfig(base, runner.addresses[0][1])
        found = Chain(f"https://localhost:{ports[1]}", f"https://localhost:{ports[0]}", base)
        for name, where in (("server", found.server), ("web", found.page)):
            command = (name, "--config", base / "config.json", "--log-level", "error")
            await stack.enter_async_context(process(*command, KUBECONFIG=str(config)))
            async with found.client(where) as asking:
                await eventually_ready(asking)
        yield found


async def test_users_of_the_proxy_are_known_to_the_server_and_nobody_else_can_state_one(tmp_path: Path) -> None:
    async with chain(tmp_path) as running:
        await the_proxy_s_user_is_shown_and_reads_with_their_own_rights(running)
        await without_the_proxy_s_certificate_the_headers_mean_nothing(running)
        await names_of_kubernetes_are_refused_at_both(running)
        await the_server_believes_the_page_s_certificate_alone(running)


async def the_proxy_s_user_is_shown_and_reads_with_their_own_rights(running: Chain) -> None:
    async with running.client(running.page, "proxy") as proxy:
        headers = {"X-Forwarded-User": "ann@team-a", "X-Forwarded-Groups": "dev, ops"}
        shown = await proxy.get("/grid", headers=headers)
        assert (shown.status_code, "ann@team-a" in shown.text) == (200, True), shown.text
        assert (await proxy.get(OTHER, headers=headers)).status_code == 403
        assert (await proxy.get(OTHER, headers={"X-Forwarded-User": "root@*"})).status_code == 200
        assert (await proxy.get("/grid")).status_code == 401
        twice = [("X-Forwarded-User", "ann@team-a"), ("X-Forwarded-User", "root@*")]
        assert (await proxy.get(OTHER, headers=twice)).status_code == 401


async def without_the_proxy_s_certificate_the_headers_mean_nothing(running: Chain) -> None:
    forged = {"X-Forwarded-User": "root@*", "X-Remote-User": "root@*", "X-Remote-Group": "admins"}
    for certificate in ("", "stranger"):
        async with running.client(running.page, certificate) as client:
            shown = await client.get(OTHER, headers=forged)
            assert (shown.status_code, "Sign in" in shown.text) == (401, True)
    for certificate in ("web", "other"):  # of another CA than the proxy's
        async with running.client(running.page, certificate) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(OTHER, headers=forged)


async def names_of_kubernetes_are_refused_at_both(running: Chain) -> None:
    stated = [("system:admin@*", "dev"), ("ann@*", "system:masters"), ("SYSTEM:x@*", "dev")]
    async with running.client(running.page, "proxy") as proxy, running.client(running.server, "web") as page:
        for user, group in stated:
            shown = await proxy.get(OTHER, headers={"X-Forwarded-User": user, "X-Forwarded-Groups": group})
            assert (shown.status_code, "system:" in shown.text) == (403, True)
            answer = await page.get("/api/v1/whoami", headers={"X-Remote-User": user, "X-Remote-Group": group})
            assert (answer.status_code, "may not begin with system:" in answer.text) == (403, True)


async def the_server_believes_the_page_s_certificate_alone(running: Chain) -> None:
    stated = {"X-Remote-User": "root@*", "X-Remote-Group": "dev"}
    async with running.client(running.server, "web") as page:
        answer = await page.get("/api/v1/whoami", headers=stated)
        assert (answer.status_code, answer.json()["user"], answer.json()["groups"]) == (200, "root@*", ["dev"])
        assert (await page.get("/api/v1/whoami")).status_code == 401
        both = await page.get("/api/v1/whoami", headers=stated | {"Authorization": "Bearer user:bob@*"})
        assert (both.status_code, "not both" in both.text) == (400, True)
        by_token = await page.get("/api/v1/whoami", headers={"Authorization": "Bearer user:bob@*"})
        assert by_token.json().get("user") == "bob@*", by_token.text
    for method, path in (("GET", "/metrics"), ("GET", "/v1/projection"), ("POST", "/v1/reports"),
                         ("POST", "/v1/budgets/query")):  # fmt: skip
        async with running.client(running.server, "web") as page:  # the server closes where it did not read a body
            refused = await page.request(method, path, headers=stated)
            assert (refused.status_code, "alone" in refused.text) == (403, True), f"{path} {refused.text}"
    for certificate in ("", "other"):
        async with running.client(running.server, certificate) as client:
            assert (await client.get("/api/v1/whoami", headers=stated)).status_code == 401
            by_token = await client.get("/api/v1/whoami", headers=stated | {"Authorization": "Bearer user:bob@*"})
            assert by_token.json().get("user") == "bob@*", by_token.text
    for certificate in ("proxy", "only-server"):  # of another CA; for servers alone, though of the right name
        async with running.client(running.server, certificate) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/api/v1/whoami", headers=stated)
