"""How long a report takes, and how much memory the server, while others ask all they can: a real server, on SQLite.

A month of many workloads in 100 namespaces is kept. Agents of 200 nodes post the ten seconds that have passed; beside
them, one phase after the other: nothing; 100 connections of one account without a right, each with a body of 8 MB of
which the last byte does not come; 30 tenants who ask, each again as soon as it is answered or refused, 6.6 MB of
questions; the same with one small question over 30 days; four who may read the whole cluster ask 6.6 MB.
`reports_p50_ms` and so on are of the reports' answers, `ready_max_ms` of /readyz, `peak_mib` of the server's resident
memory, `answered` and `refused` of the questions. The chart gives the server 1 GiB.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
from aiohttp import web
from benchmarks.budget_query_cost import DAY
from benchmarks.figures import Figures, arguments, show, yardstick_ms
from benchmarks.ingest_cost import ACCOUNT, a_report
from benchmarks.month_serving import serving_a_month
from tests.serving import URL, Serving

from carbonbudget_operator.ingest.connection_limits import raise_file_limit

NODES, TENANTS, HELD = 200, 30, 100
_WINDOW_SECONDS = 10


async def review(request: web.Request) -> web.Response:
    """Tokens: node-N, an agent's; team-N, who may read that namespace; eve, who may nothing; sre-N, who may all."""
    asked = await request.json()
    spec = asked["spec"]
    if asked["kind"] == "TokenReview":
        token = spec["token"]
        user: dict[str, Any] = {"username": token}
        if token.startswith("node-"):
            user = {"username": ACCOUNT, "extra": {"authentication.kubernetes.io/node-name": [token]}}
        return web.json_response({"status": {"authenticated": True, "audiences": spec["audiences"], "user": user}})
    wide = spec["user"].startswith("sre-")
    allowed = wide or spec["resourceAttributes"].get("namespace") == spec["user"]
    return web.json_response({"status": {"allowed": allowed}})


def questions(namespace: str, number: int, end: int) -> bytes:
    """So many about 30 days, each with a selector of its own."""
    asked = [
        {
            "id": f"q{index}", "namespaces": [namespace], "start": end - 30 * DAY, "end": end,
            "selector": {"matchLabels": {"project": f"p{index % 10}", "note": "x" * 500}},
        }
        for index in range(number)
    ]  # fmt: skip
    if number == 1:
        asked[0]["selector"] = {"matchLabels": {"project": "p1"}}
    return json.dumps({"queries": asked}).encode()


class Load:
    """One phase: reports and probes under some load, for some seconds."""

    def __init__(self, server: Serving, seconds: float) -> None:
        self.server, self.seconds = server, seconds
        self.reports: list[float] = []
        self.probes: list[float] = []
        self.status: Counter[int] = Counter()
        self._ends = 0.0

    async def run(self, name: str, asking: list[Callable[[], Coroutine[Any, Any, None]]]) -> Figures:
        Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")  # the peak is counted anew
        self._ends = time.monotonic() + self.seconds
        askers = [asyncio.create_task(ask()) for ask in asking]
        agents = [asyncio.create_task(self._agent(node)) for node in range(NODES)]
        await asyncio.gather(*agents, self._probe())
        for asker in askers:
            asker.cancel()
        await asyncio.gather(*askers, return_exceptions=True)
        self.reports.sort()
        return {
            "load": name,
            "reports": len(self.reports),
            "reports_p50_ms": round(self.reports[len(self.reports) // 2] * 1000),
            "reports_p99_ms": round(self.reports[len(self.reports) * 99 // 100] * 1000),
            "reports_max_ms": round(self.reports[-1] * 1000),
            "ready_max_ms": round(max(self.probes, default=0) * 1000),
            "answered": self.status[200],
            "refused": sum(number for status, number in self.status.items() if status != 200),
            "peak_mib": _peak_mib(self.server.pid),
            "yardstick_ms": round(yardstick_ms(), 1),
        }

    async def ask(self, token: str, content: bytes) -> None:
        """Again and again, as soon as there is an answer."""
        async with self._session() as session:
            while time.monotonic() < self._ends:
                try:
                    async with session.post(
                        f"{URL}/v1/budgets/query", data=content, headers={"Authorization": f"Bearer {token}"}
                    ) as answer:
                        await answer.read()
                        self.status[answer.status] += 1
                        refused = answer.status != 200
                except aiohttp.ClientError:
                    self.status[0] += 1
                    refused = True
                if refused:
                    await asyncio.sleep(0.5)

    async def hold_back(self) -> None:
        """A body of which the last byte does not come."""

        async def most() -> AsyncIterator[bytes]:
            for _ in range(8):
                yield b" " * 1_000_000
            await asyncio.sleep(3600)
            yield b"}"

        async with self._session() as session:
            while time.monotonic() < self._ends:
                try:
                    async with session.post(
                        f"{URL}/v1/budgets/query", data=most(), headers={"Authorization": "Bearer eve"}
                    ) as answer:
                        self.status[answer.status] += 1
                except aiohttp.ClientError:
                    self.status[0] += 1
                await asyncio.sleep(0.5)

    async def _agent(self, node: int) -> None:
        """Agents do not report at one instant, they keep their connections, and what they report has just passed."""
        await asyncio.sleep(_WINDOW_SECONDS * node / NODES)
        async with self._session() as session:
            await (await session.get(f"{URL}/readyz")).read()
            first, begins, turn = int(time.time()) // _WINDOW_SECONDS - 1, time.monotonic(), 0
            while time.monotonic() < self._ends:
                start = (first + turn) * _WINDOW_SECONDS
                body = gzip.compress(a_report(node, start, _WINDOW_SECONDS).encode(), 5)
                began = time.perf_counter()
                headers = {"Authorization": f"Bearer node-{node}", "Content-Encoding": "gzip"}
                async with session.post(f"{URL}/v1/reports", data=body, headers=headers) as answer:
                    if answer.status != 200:
                        raise SystemExit(f"report refused: {answer.status} {await answer.text()}")
                self.reports.append(time.perf_counter() - began)
                turn += 1
                next_at = min(begins + turn * _WINDOW_SECONDS, self._ends)
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    async def _probe(self) -> None:
        async with self._session() as session:
            while time.monotonic() < self._ends:
                began = time.perf_counter()
                async with session.get(f"{URL}/readyz") as answer:
                    await answer.read()
                self.probes.append(time.perf_counter() - began)
                await asyncio.sleep(0.5)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=self.server.trust)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
            yield session


def _peak_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


async def measure(base: Path, workloads: int, seconds: float) -> list[Figures]:
    """All phases on one server."""
    rows: list[Figures] = []
    async with serving_a_month(base, workloads, review) as (server, now):
        large, small = ([questions(f"team-{n}", number, now) for n in range(TENANTS)] for number in (9_500, 1))
        for name in ("nothing", "held back", "6.6 MB", "30 days", "6.6 MB, whole cluster", "after"):
            load = Load(server, seconds)
            asking: list[Callable[[], Coroutine[Any, Any, None]]] = []
            if name == "held back":
                asking = [load.hold_back] * HELD
            elif name == "6.6 MB":
                asking = [partial(load.ask, f"team-{n}", large[n]) for n in range(TENANTS)]
            elif name == "30 days":
                asking = [partial(load.ask, f"team-{n}", small[n]) for n in range(TENANTS)]
            elif "cluster" in name:
                asking = [partial(load.ask, f"sre-{n}", large[n]) for n in range(4)]
            try:
                rows.append(await load.run(name, asking))
            except (aiohttp.ClientError, ProcessLookupError, FileNotFoundError) as error:
                raise SystemExit(f"the server did not survive {name!r}: {error!r}") from None
            print(f".. {rows[-1]}", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """All phases."""
    given = arguments(__doc__ or "")
    raise_file_limit()
    with tempfile.TemporaryDirectory() as directory:
        workloads, seconds = (500, 12.0) if given.quick else (3_000, 30.0)
        show(asyncio.run(measure(Path(directory), workloads, seconds)), given.json)


if __name__ == "__main__":
    main()
