"""What a review costs the webhook, by number of budgets: 100 requests a second over TLS, from another process.

The process is the real command; its API server is a small one here that lists the budgets. Three of four reviews are of
a Job under ten budgets of its namespace, of which one warns; the rest are of growth. Latency is what the caller sees,
connection kept; CPU and memory are the webhook's own. It runs on one core where there are two.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
from aiohttp import web
from benchmarks.figures import Figures, arguments, cpu_seconds, rss_mib, show
from tests.admission.given import a_budget, a_review, an_object
from tests.apiserver.webhook_process import free_port

from carbonbudget_operator.controller.certificates import make_ca, make_leaf

RATE = 100  # requests a second
PER_NAMESPACE = 10
FAR = 2_000_000_000


def budgets(count: int) -> list[dict[str, Any]]:
    """`count` budgets, ten a namespace; of each ten, one warns and one names Deployments."""
    found = []
    for number in range(count):
        space, index = f"team-{number // PER_NAMESPACE}", number % PER_NAMESPACE
        more: dict[str, Any] = {"selector": {"matchLabels": {"project": f"p{index}"}}} if index > 1 else {}
        state = "Warning" if index == 0 else "WithinBudget"
        if index == 1:
            more["enforce"] = {"kinds": ["Job", "Pod", "Deployment"]}
        body = a_budget(f"b{number}", state, 85 if index == 0 else 40, namespace=space, ends=FAR, **more)
        body["metadata"]["resourceVersion"] = "1"
        found.append(body)
    return found


def an_api(found: dict[str, list[dict[str, Any]]], port: int, ready: threading.Event) -> None:
    """An API server that lists what there is by plural and then is silent; runs until the process ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.sleep(3600)
            return response
        items = found.get(request.path.rsplit("/", 1)[1], [])
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or len(items))
        more = str(start + limit) if start + limit < len(items) else ""
        metadata = {"resourceVersion": "1", "continue": more}
        return web.json_response({"kind": "List", "metadata": metadata, "items": items[start : start + limit]})

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()
        await asyncio.sleep(3600)

    asyncio.run(serve())


def bodies(count: int) -> list[bytes]:
    """Reviews as the API server sends them, about 3 KB each."""
    env = [{"name": f"VARIABLE_{n}", "value": "x" * 20} for n in range(30)]
    pod = {"containers": [{"name": "c", "image": "train:1", "env": env, "resources": {"requests": {"cpu": "4"}}}]}
    made = []
    for number in range(40):
        space = f"team-{number % max(1, count // PER_NAMESPACE)}"
        if number % 4:
            review = a_review("Job", an_object("Job", {"project": "p3"}, pod=pod), namespace=space, dryRun=True)
        else:
            old, new = (an_object("Deployment", {"project": "p3"}, pod=pod, replicas=n) for n in (2, 3))
            review = a_review("Deployment", new, old, namespace=space, dryRun=True)
        made.append(json.dumps(review).encode())
    return made


async def load(url: str, context: ssl.SSLContext, seconds: int, made: list[bytes]) -> list[float]:
    """Seconds of each request, sent at their times whether or not those before are answered."""
    times: list[float] = []

    async def one(session: aiohttp.ClientSession, body: bytes) -> None:
        began = time.perf_counter()
        async with session.post(f"{url}/validate", data=body, ssl=context) as answer:
            assert (await answer.json())["response"]["allowed"]
        times.append(time.perf_counter() - began)

    connector = aiohttp.TCPConnector(limit=16)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(one(session, made[0]) for _ in range(16)))  # connections
        times.clear()
        start, waiting = time.perf_counter(), []
        for number in range(seconds * RATE):
            await asyncio.sleep(max(0.0, start + number / RATE - time.perf_counter()))
            waiting.append(asyncio.create_task(one(session, made[number % len(made)])))
        await asyncio.gather(*waiting)
    return sorted(times)


async def until_ready(url: str, context: ssl.SSLContext, process: subprocess.Popen[bytes]) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"the webhook ended with {process.returncode}")
            try:
                async with session.get(f"{url}/readyz", ssl=context) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError("the webhook is not ready after 30 s")


def judging_us(port: int) -> int:
    """Microseconds of a review without HTTP and TLS, the mean, by the webhook's own histogram."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    name = "carbonbudget_admission_duration_seconds"
    return round(float(lines[f"{name}_sum"]) / float(lines[f"{name}_count"]) * 1e6)


@dataclass(frozen=True)
class Webhook:
    """One that runs. `metrics` is its plain port, `log` what it has written."""

    pid: int
    url: str
    context: ssl.SSLContext
    metrics: int
    log: Path


@contextmanager
def a_webhook(
    directory: Path, found: list[dict[str, Any]], more: dict[str, list[dict[str, Any]]] | None = None
) -> Iterator[Webhook]:
    """The real command with these budgets, on one core; ready. `more` are other objects by plural."""
    now = dt.datetime.now(dt.UTC)
    ca = make_ca(now)
    leaf = make_leaf(ca, ["localhost"], now)
    for name, text in (("ca.crt", ca.certificate), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)):
        (directory / name).write_text(text)
    api, port, plain = free_port(), free_port(), free_port()
    ready = threading.Event()
    listed = {"carbonbudgets": found} | (more or {})
    threading.Thread(target=an_api, args=(listed, api, ready), daemon=True).start()
    ready.wait(10)
    command = [
        "admission", f"--listen=127.0.0.1:{port}",
        f"--metrics-listen=127.0.0.1:{plain}", f"--tls-cert={directory}/tls.crt", f"--tls-key={directory}/tls.key",
    ]  # fmt: skip
    # As in a pod, where there is no kubeconfig: the official client would be loaded to read one, 40 MB.
    code = (
        "from carbonbudget_operator.kube import connection, credentials\n"
        "assert connection.find_credentials is credentials.find_credentials\n"
        f"connection.find_credentials = lambda: credentials.Credentials('http://127.0.0.1:{api}', lambda: 't')\n"
        "from carbonbudget_operator.cli.main import main\n"
        "main()\n"
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", code, *command], stdout=log, stderr=log)
        os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        url = f"https://localhost:{port}"
        try:
            asyncio.run(until_ready(url, context, process))
            yield Webhook(process.pid, url, context, plain, directory / "log")
        except (RuntimeError, TimeoutError):
            print((directory / "log").read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def measure(directory: Path, count: int, seconds: int) -> Figures:
    """One webhook with `count` budgets."""
    with a_webhook(directory, budgets(count)) as webhook:
        busy = cpu_seconds(webhook.pid)
        times = asyncio.run(load(webhook.url, webhook.context, seconds, bodies(count)))
        busy = cpu_seconds(webhook.pid) - busy
        memory = rss_mib(webhook.pid)
        judged = judging_us(webhook.metrics)
    return {
        "budgets": count,
        "requests": len(times),
        "p50_ms": round(times[len(times) // 2] * 1000, 2),
        "p99_ms": round(times[len(times) * 99 // 100] * 1000, 2),
        "judging_us": judged,
        "cpu_ms_each": round(busy / len(times) * 1000, 2),
        "rss_mib": memory,
    }


def main() -> None:
    """Three sizes."""
    given = arguments(__doc__ or "")
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory:
        for count in (10, 100, 1000):
            found.append(measure(Path(directory), count, 5 if given.quick else 30))
            print(f".. {count} budgets: {found[-1]}", file=sys.stderr, flush=True)
    show(found, given.json)


if __name__ == "__main__":
    main()
