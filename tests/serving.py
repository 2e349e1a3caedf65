"""A real server process for a benchmark, over TLS on this machine; two functions answer for the API server."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from carbonbudget_operator.controller.certificates import make_ca, make_leaf

URL = "https://localhost:18443"
_START_SECONDS = 180
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Serving:
    """The server process, and the TLS context of its clients."""

    pid: int
    trust: ssl.SSLContext


@asynccontextmanager
async def serving(
    base: Path, ledger: str, review: Answer, read: Answer | None = None, port: int = 18443, config: Path | None = None
) -> AsyncIterator[Serving]:
    """`base` is a folder for its files, `ledger` the ledger's URL; `review` answers POST, `read` GET (None: 404).

    `config` is a file of settings.
    """
    ca = make_ca(dt.datetime.now(dt.UTC))
    leaf = make_leaf(ca, ["localhost"], dt.datetime.now(dt.UTC))
    (base / "ca.crt").write_text(ca.certificate)
    (base / "tls.crt").write_text(leaf.certificate)
    (base / "tls.key").write_text(leaf.key)
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/{path:.*}", review)
    if read is not None:
        app.router.add_get("/{path:.*}", read)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api_port = runner.addresses[0][1]
    named = {"name": "bench", "cluster": {"server": f"http://127.0.0.1:{api_port}"}}
    context = {"name": "bench", "context": {"cluster": "bench", "user": "bench"}}
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "bench", "clusters": [named],
        "contexts": [context], "users": [{"name": "bench", "user": {"token": "bench"}}],
    }  # fmt: skip
    (base / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    command = [
        str(Path(sys.executable).parent / "carbonbudget"), "server", "--listen", f"127.0.0.1:{port}",
        "--ledger", ledger, "--tls-cert", str(base / "tls.crt"),
        "--tls-key", str(base / "tls.key"), "--log-level", "error", *(["--config", str(config)] if config else []),
    ]  # fmt: skip
    # It returns at once: nothing else runs in this loop that a fork could hold up.
    server = subprocess.Popen(command, env=os.environ | {"KUBECONFIG": str(base / "kubeconfig")})  # noqa: ASYNC220
    trust = ssl.create_default_context(cadata=ca.certificate)
    try:
        await _until_answering(server, trust, port)
        yield Serving(server.pid, trust)
    finally:
        server.terminate()
        server.wait()
        await runner.cleanup()


async def _until_answering(server: subprocess.Popen[bytes], trust: ssl.SSLContext, port: int) -> None:
    """Waits until the server answers, whatever it answers. A busy machine takes a minute to start one.

    Raises:
        RuntimeError: the server ended, or does not answer.
    """
    ends = time.monotonic() + _START_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        while time.monotonic() < ends:
            if server.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {server.returncode}: its log says why")
            try:
                async with session.get(f"https://localhost:{port}/readyz", ssl=trust):
                    return
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.1)
    raise RuntimeError(
        f"the server did not answer on port {port} within {_START_SECONDS} s: try again on an idle machine"
    )
