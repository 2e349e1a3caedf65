"""What reports, verdicts and probes take while 50 people load pages: real processes of server and web page, on SQLite.

A month of many workloads in 100 namespaces is kept. Agents of 200 nodes post the ten seconds that have passed, the
controller asks for 100 budgets once a second, a kubelet asks for /readyz. `idle`: beside them 50 people ask a stub of
the load generator, which sends pages of the usual size, so that all phases pay for the generator. `pages`: 45 tenants
and 5 who may read all namespaces go through the pages of the web process, over TLS and each with a session. `api`: the
50 ask /api/v1 itself. Each person looks at an answer for a second. `page_p50_ms` and so on are of their answers. The
50 are in a process of their own, which gives way to the others (`people_process.py`).

`server_cpu_s` and `web_cpu_s` are CPU seconds (user and system) of all processes of the server, and of the web
process, during the phase; `machine_busy_percent` is what of the machine's CPU time was in use by anybody.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
from aiohttp import web
from benchmarks.figures import Figures, arguments, cpu_seconds, rss_mib, show, web_environment, yardstick_ms
from benchmarks.month_serving import serving_a_month
from benchmarks.people_process import Person, people_beside, take_precedence
from benchmarks.question_isolation_load import BUDGETS, Isolation, review, tree
from benchmarks.question_load import NODES, questions
from tests.server.budget_objects import a_budget
from tests.serving import Serving

from carbonbudget_operator.ingest.connection_limits import raise_file_limit

NAMESPACES, TENANTS, WIDE = 100, 45, 5
THINKING_SECONDS = 1.0
# The chart asks 10m of CPU for the page and 50m for the server, and the kernel weighs their containers so. Here both
# processes are in one group, where five times less weight is a nice value of 7 (a step is 1.25).
PAGE_NICE = 7
PORT, METRICS_PORT = 18_449, 18_450
ORIGIN, SERVER = f"https://localhost:{PORT}", "https://localhost:18443"
PAGES = (
    "/budgets", "/budgets/{namespace}/monthly", "/emissions?window=30d&step=day",
    "/emissions?window=7d&by=workload&step=day", "/grid?window=24h", "/data?window=24h",
    "/emissions?window=30d&by=label:project&step=all",
)  # fmt: skip
QUESTIONS = (
    "/api/v1/budgets", "/api/v1/budgets/{namespace}/monthly/series",
    "/api/v1/emissions?window=30d&by=namespace&step=day",
    "/api/v1/emissions?window=7d&by=workload&step=day&filter=namespace={namespace}", "/api/v1/intensity?window=24h",
    "/api/v1/emissions?window=30d&by=label:project&step=all", "/api/v1/whoami",
)  # fmt: skip


async def read(request: web.Request) -> web.StreamResponse:
    """Lists of the API server: a budget and a pod in each namespace. Watches stay silent."""
    names = [f"team-{n}" for n in range(NAMESPACES)]
    if "watch" in request.query:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(asyncio.CancelledError, ConnectionError):
            await asyncio.sleep(60)
        return answer
    if request.path.endswith("/carbonbudgets"):
        wanted = request.path.split("/")[-2]
        items = [a_budget(name) for name in names if wanted in (name, "v1alpha1")]
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})
    if request.path == "/api/v1/pods":
        rows = [
            {
                "cells": ["Running", f"n{number}"],
                "object": {"metadata": {
                    "uid": f"00000000-0000-4000-8000-{number:012}", "namespace": name, "name": "p", "labels": {},
                }},
            }
            for number, name in enumerate(names)
        ]  # fmt: skip
        columns = [{"name": "Status"}, {"name": "Node"}]
        table = {"kind": "Table", "metadata": {"resourceVersion": "1"}, "columnDefinitions": columns, "rows": rows}
        return web.json_response(table)
    return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})


@asynccontextmanager
async def web_page(base: Path) -> AsyncIterator[int]:
    """The web process before the server; its process id."""
    own = {
        "listen": f"127.0.0.1:{PORT}", "metrics_listen": f"127.0.0.1:{METRICS_PORT}", "server_url": SERVER,
        "server_ca": f"{base}/ca.crt", "tls_cert": f"{base}/tls.crt", "tls_key": f"{base}/tls.key",
    }  # fmt: skip
    (base / "web.json").write_text(json.dumps({"web": own}))
    command = (Path(sys.executable).with_name("carbonbudget"), "web", "--config", base / "web.json")
    process = await asyncio.create_subprocess_exec(
        *command, "--log-level", "error", env=os.environ | web_environment(), preexec_fn=partial(os.nice, PAGE_NICE)
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


def cpu(server: Serving, web_pid: int) -> tuple[float, float]:
    """CPU seconds so far of the server with its processes, and of the web process."""
    found = 0.0
    for pid in tree(server.pid):
        with suppress(OSError):
            found += cpu_seconds(pid)
    return found, cpu_seconds(web_pid)


def person(kind: str, number: int, cookies: list[str]) -> Person:
    """Somebody with a session who goes from page to page, or with a token who asks one question after another."""
    origin, places = (ORIGIN, PAGES) if kind == "pages" else (SERVER, QUESTIONS)
    headers = {"Cookie": cookies[number]} if kind == "pages" else {"Authorization": f"Bearer {whose(number)}"}
    return Person([origin + place.format(namespace=f"team-{number}") for place in places], headers, first=number)


def whose(number: int) -> str:
    """The token of one of the 50 people."""
    return f"team-{number}" if number < TENANTS else f"sre-{number}"


def machine() -> tuple[float, float]:
    """CPU time of the machine in use, and all of it, in ticks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def quantile_ms(times: list[float], share: float) -> int:
    return round(sorted(times)[int(len(times) * share)] * 1000) if times else 0


async def phase(
    name: str, server: Serving, web_pid: int, cookies: list[str], seconds: float, base: Path, now: int
) -> Figures:  # fmt: skip
    load = Isolation(server, seconds)
    people = [person(name, number, cookies) for number in range(TENANTS + WIDE)]
    stub = (0.0, 20_000) if name == "idle" else None
    async with people_beside(people, base / "ca.crt", THINKING_SECONDS, stub) as answers:
        before, (busy, all_) = cpu(server, web_pid), machine()
        asking: list[Any] = [partial(load.evaluate, questions("team-1", BUDGETS, now)), load.weigh]
        await load.run(name, asking)
        after, (busy_after, all_after) = cpu(server, web_pid), machine()
    if answers.refused:
        print(f".. refused: {dict(answers.refused)}", file=sys.stderr)
    return {
        "load": name,
        "reports": len(load.reports),
        "report_p50_ms": quantile_ms(load.reports, 0.5),
        "report_p99_ms": quantile_ms(load.reports, 0.99),
        "verdict_p50_ms": quantile_ms(load.evaluations, 0.5),
        "verdict_p99_ms": quantile_ms(load.evaluations, 0.99),
        "ready_max_ms": quantile_ms(load.probes, 0.9999),
        "page_p50_ms": quantile_ms(answers.seconds, 0.5),
        "page_p99_ms": quantile_ms(answers.seconds, 0.99),
        "pages": len(answers.seconds),
        "page_kib": round(answers.bytes / 1024 / max(1, len(answers.seconds))),
        "not_200": sum(number for status, number in answers.statuses.items() if status != 200),
        "server_cpu_s": round(after[0] - before[0], 1),
        "web_cpu_s": round(after[1] - before[1], 1),
        "machine_busy_percent": round(100 * (busy_after - busy) / (all_after - all_)),
        "processes_mib": round(load.processes_mib),
        "web_mib": rss_mib(web_pid),
        "yardstick_ms": round(yardstick_ms(), 1),
    }


async def measure(base: Path, workloads: int, seconds: float) -> list[Figures]:
    """The phases by turns, twice, on one server."""
    rows: list[Figures] = []
    async with serving_a_month(base, workloads, review, read) as (server, now), web_page(base) as web_pid:
        await warm(server)
        take_precedence()
        cookies = [await sign_in(server, number) for number in range(TENANTS + WIDE)]
        for name in ("idle", "pages", "api") * 2:
            rows.append(await phase(name, server, web_pid, cookies, seconds, base, now))
            print(f".. {rows[-1]}", file=sys.stderr, flush=True)
    return rows


async def sign_in(server: Serving, number: int) -> str:
    """The cookie of one of the 50 people."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=server.trust)) as session:
        data = {"token": whose(number), "next": "/"}
        headers = {"Origin": ORIGIN}
        async with session.post(f"{ORIGIN}/signin", data=data, headers=headers, allow_redirects=False) as answer:
            if answer.status != 303:
                raise SystemExit(f"a sign-in was refused: {answer.status} {await answer.text()}")
            return answer.headers["Set-Cookie"].partition(";")[0]


async def warm(server: Serving) -> None:
    """Until the page is ready and upkeep has nothing left: then its work is in no phase."""
    idle = 0
    before = cpu_seconds(server.pid)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=server.trust)) as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{ORIGIN}/readyz") as answer:
                    if answer.status == 200:
                        break
            await asyncio.sleep(0.2)
    for _ in range(600):
        await asyncio.sleep(1)
        now = cpu_seconds(server.pid)
        idle, before = (idle + 1 if now - before < 0.1 else 0), now
        if idle == 5:
            return


def main() -> None:
    """All phases, with reports of so many nodes."""
    given = arguments(f"{__doc__} Reports come from {NODES} nodes.")
    raise_file_limit()
    with tempfile.TemporaryDirectory() as directory:
        workloads, seconds = (500, 20.0) if given.quick else (3_000, 30.0)
        show(asyncio.run(measure(Path(directory), workloads, seconds)), given.json)


if __name__ == "__main__":
    main()
