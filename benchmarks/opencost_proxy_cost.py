"""What the proxy for OpenCost's clients takes: at rest, and with the largest answers, slow clients and large heads.

The process is the real command; the server behind it is a stub over TLS. `peak_mib` is the most resident memory since
the start, `limit_mib` the chart's limit. `largest`: 64 clients ask at once for answers of 32 MiB, the most that the
server gives, and read them. `slow`: they do not read, and send heads of 64 fields of 15 KiB.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
import yaml
from aiohttp import web
from benchmarks.figures import Figures, arguments, cpu_seconds, rss_mib, show

from carbonbudget_operator.controller.certificates import make_ca, make_leaf

ROOT = Path(__file__).resolve().parent.parent
PORT = 18_451
PLACE = f"http://127.0.0.1:{PORT}/allocation?window=7d"
CLIENTS, ANSWER_BYTES = 64, 32 * 2**20
Load = Callable[[float], Awaitable[int]]


async def largest(until: float) -> int:
    """All clients read what they get."""

    async def one() -> int:
        done = 0
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until:
                with suppress(aiohttp.ClientError):
                    async with session.get(PLACE) as answer:
                        async for _ in answer.content.iter_any():
                            pass
                        done += answer.status == 200
        return done

    return sum(await asyncio.gather(*(one() for _ in range(CLIENTS))))


async def slow(until: float) -> int:
    """No client reads; each sends the largest head that is taken."""
    head = "GET /allocation?window=7d HTTP/1.1\r\nHost: x\r\n" + "".join(
        f"X-{number}: {'a' * 15_000}\r\n" for number in range(62)
    )
    writers = []
    opened = 0
    while time.monotonic() < until:
        if len(writers) < CLIENTS:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=1)
                writer.write((head + "\r\n").encode() * 2)
                writers.append((reader, writer))
                opened += 1
        await asyncio.sleep(0.01)
    for _, writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0.1)
    return opened


async def measure(load: Load | None, seconds: float) -> Figures:
    """One start and one kind of load."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        ca = make_ca(dt.datetime.now(dt.UTC))
        leaf = make_leaf(ca, ["localhost"], dt.datetime.now(dt.UTC))
        for file, text in (("ca.crt", ca.certificate), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)):
            (base / file).write_text(text)
        (base / "token").write_text("token")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(base / "tls.crt", base / "tls.key")
        body = b"x" * ANSWER_BYTES

        async def answer(_: web.Request) -> web.Response:
            return web.Response(body=body, content_type="application/json")

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "localhost", 0, ssl_context=context).start()
        command = (
            Path(sys.executable).with_name("carbonbudget"), "opencost-proxy", f"--listen=127.0.0.1:{PORT}",
            f"--server-url=https://localhost:{runner.addresses[0][1]}", f"--server-ca={base}/ca.crt",
            f"--server-token-file={base}/token",
        )  # fmt: skip
        process = await asyncio.create_subprocess_exec(*command, env=os.environ, stderr=asyncio.subprocess.DEVNULL)
        try:
            await _ready()
            busy = cpu_seconds(process.pid)
            done = await load(time.monotonic() + seconds) if load else 0
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
            figures: Figures = {"load": load.__name__ if load else "rest", "requests": done}
            figures |= {"rss_mib": rss_mib(process.pid), "peak_mib": round(peak / 1024, 1), "limit_mib": _limit_mib()}
            return figures | {"cpu_s": round(cpu_seconds(process.pid) - busy, 1)}
        finally:
            process.terminate()
            await process.wait()
            await runner.cleanup()


async def _ready() -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{PORT}/healthz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


def _limit_mib() -> int:
    values = yaml.safe_load((ROOT / "charts/carbonbudget/values.yaml").read_text())
    return int(values["server"]["opencost"]["proxy"]["resources"]["limits"]["memory"].removesuffix("Mi"))


def main() -> None:
    """All loads."""
    given = arguments(__doc__ or "")
    seconds = 5.0 if given.quick else 40.0
    show([asyncio.run(measure(load, seconds)) for load in (None, largest, slow)], given.json)


if __name__ == "__main__":
    main()
