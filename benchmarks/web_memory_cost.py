"""What the web page takes: at rest, while users look at it, and while a flood of sign-ins and connections goes on.

The process is the real command over TLS; the server behind it is a stub. `rss_mib`
is the resident memory after the load, `peak_mib` the most of it, `limit_mib` the chart's limit.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx
from aiohttp import web
from benchmarks.figures import Figures, arguments, rss_mib, show, web_environment

from carbonbudget_operator.controller.certificates import make_ca, make_leaf

PORT, METRICS_PORT, ORIGIN = 18_447, 18_448, "https://localhost:18447"
LIMIT_MIB = 192
SECONDS = 10.0
_COMMAND = "import sys; from carbonbudget_operator.cli.main import main; sys.exit(main())"
Load = Callable[[ssl.SSLContext, float], Awaitable[int]]


async def browse(trust: ssl.SSLContext, until: float) -> int:
    """Twenty users who load the first page again and again."""

    async def one(number: int) -> int:
        loaded = 0
        async with httpx.AsyncClient(verify=trust, base_url=ORIGIN, timeout=60) as browser:
            data = {"token": f"token-{number}", "next": "/"}
            await browser.post("/signin", data=data, headers={"Origin": ORIGIN})
            while time.monotonic() < until:
                loaded += (await browser.get("/grid")).status_code == 200
        return loaded

    return sum(await asyncio.gather(*(one(number) for number in range(20))))


async def sign_in(trust: ssl.SSLContext, until: float) -> int:
    """Sign-ins with wrong tokens."""

    async def one() -> int:
        tried = 0
        async with httpx.AsyncClient(verify=trust, base_url=ORIGIN, timeout=60) as browser:
            while time.monotonic() < until:
                await browser.post("/signin", data={"token": "wrong" * 400}, headers={"Origin": ORIGIN})
                tried += 1
        return tried

    return sum(await asyncio.gather(*(one() for _ in range(20))))


async def connect(trust: ssl.SSLContext, until: float) -> int:
    """Connections that begin a form of 16 KiB and do not end it."""
    head = f"POST /signin HTTP/1.1\r\nHost: localhost:{PORT}\r\nOrigin: {ORIGIN}\r\nContent-Length: 16000\r\n"
    begun = (head + "Content-Type: application/x-www-form-urlencoded\r\n\r\n").encode() + b"a" * 15_900
    opened = 0
    writers = []
    while time.monotonic() < until:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("localhost", PORT, ssl=trust)
            writer.write(begun)
            writers.append(writer)
            opened += 1
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0.1)  # the transports close in the loop
    return opened


async def serve(directory: Path) -> tuple[web.AppRunner, int]:
    """The stub of the server: everything is whoami."""

    async def answer(request: web.Request) -> web.Response:
        kind, _, name = request.headers.get("Authorization", "").removeprefix("Bearer ").partition("-")
        if kind != "token":
            return web.json_response({"detail": "the token is expired"}, status=401)
        return web.json_response({"user": name, "groups": [], "all_namespaces": True, "namespaces": None})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0, ssl_context=context).start()
    return runner, int(runner.addresses[0][1])


async def measure(load: Load | None, seconds: float) -> Figures:
    """One start and one kind of load."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ca = make_ca(dt.datetime.now(dt.UTC))
        leaf = make_leaf(ca, ["localhost"], dt.datetime.now(dt.UTC))
        for file, text in (("ca.crt", ca.certificate), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)):
            (directory / file).write_text(text)
        runner, port = await serve(directory)
        own = {
            "listen": f"127.0.0.1:{PORT}", "metrics_listen": f"127.0.0.1:{METRICS_PORT}",
            "server_url": f"https://localhost:{port}", "server_ca": f"{directory}/ca.crt",
            "tls_cert": f"{directory}/tls.crt", "tls_key": f"{directory}/tls.key",
        }  # fmt: skip
        (directory / "config.yaml").write_text(json.dumps({"web": own}))
        command = [sys.executable, "-c", _COMMAND, "web", "--config", str(directory / "config.yaml")]
        process = subprocess.Popen([*command, "--log-level", "error"], env=os.environ | web_environment())
        trust = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        try:
            await _ready(trust)
            done = await load(trust, time.monotonic() + seconds) if load else 0
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
            what = load.__name__ if load else "rest"
            figures: Figures = {"load": what, "requests": done, "rss_mib": rss_mib(process.pid)}
            return figures | {"peak_mib": round(peak / 1024, 1), "limit_mib": LIMIT_MIB}
        finally:
            process.terminate()
            process.wait()
            await runner.cleanup()


async def _ready(trust: ssl.SSLContext) -> None:
    async with httpx.AsyncClient(verify=trust, base_url=ORIGIN) as browser, asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                if (await browser.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)


def main() -> None:
    """All loads."""
    given = arguments(__doc__ or "")
    seconds = 3.0 if given.quick else SECONDS
    show([asyncio.run(measure(load, seconds)) for load in (None, browse, sign_in, connect)], given.json)


if __name__ == "__main__":
    main()
