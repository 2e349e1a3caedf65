"""What reports, evaluations and probes take while 50 people ask 30-day questions: a real server, on SQLite.

A month of many workloads in 100 namespaces is kept. Agents of 200 nodes post the ten seconds that have passed, the
controller asks for 100 budgets once a second, a kubelet for /readyz. `idle`: beside them 50 people ask a stub, which
answers in a second and belongs to their process: so both phases pay for it (`people_process.py`). `people`: they ask
the server instead, each again as soon as it is answered or refused. `server_mib` and `processes_mib` are the
proportional memory (PSS) at the peak of the server alone, and of the server with the processes that answer people.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aiohttp import web
from benchmarks.figures import Figures, arguments, show, yardstick_ms
from benchmarks.month_serving import serving_a_month
from benchmarks.people_process import Person, people_beside, take_precedence
from benchmarks.question_load import NODES, Load, questions
from benchmarks.question_load import review as review_of_others
from tests.serving import URL, Serving

from carbonbudget_operator.ingest.connection_limits import raise_file_limit
from carbonbudget_operator.server_settings import ServerSettings

PEOPLE, BUDGETS = 50, 100
CONTROLLER = ServerSettings().operator_accounts[0]
STUB_SECONDS = 1.0


async def review(request: web.Request) -> web.Response:
    """As in question_load, and the controller may read all."""
    spec = (await request.json())["spec"]
    if spec.get("user") == CONTROLLER:
        return web.json_response({"status": {"allowed": True}})
    return await review_of_others(request)


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                pass
    return found


def pss_mib(pid: int) -> float:
    """Memory of a process, what it shares counted in proportion; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    except (OSError, StopIteration):
        return 0.0


class Isolation(Load):
    """One phase, with the controller's evaluations and the memory of all processes."""

    def __init__(self, server: Serving, seconds: float) -> None:
        super().__init__(server, seconds)
        self.evaluations: list[float] = []
        self.server_mib = self.processes_mib = 0.0

    async def evaluate(self, content: bytes) -> None:
        headers = {"Authorization": f"Bearer {CONTROLLER}"}
        async with self._session() as session:
            while time.monotonic() < self._ends:
                began = time.perf_counter()
                async with session.post(f"{URL}/v1/budgets/query", data=content, headers=headers) as answer:
                    text = await answer.text()
                    if answer.status != 200:
                        raise SystemExit(f"an evaluation was refused: {answer.status} {text}")
                self.evaluations.append(time.perf_counter() - began)
                await asyncio.sleep(1)

    async def weigh(self) -> None:
        while time.monotonic() < self._ends:
            sizes = [pss_mib(pid) for pid in tree(self.server.pid)]
            self.server_mib = max(self.server_mib, sizes[0])
            self.processes_mib = max(self.processes_mib, sum(sizes))
            await asyncio.sleep(0.5)


async def phase(name: str, server: Serving, seconds: float, base: Path, now: int) -> Figures:
    load = Isolation(server, seconds)
    budgets = questions("team-1", BUDGETS, now)
    people = [
        Person(
            [f"{URL}/v1/budgets/query"], {"Authorization": f"Bearer team-{n}"}, questions(f"team-{n}", 1, now).decode()
        )
        for n in range(PEOPLE)
    ]
    stub = (STUB_SECONDS, 20) if name == "idle" else None
    async with people_beside(people, base / "ca.crt", 0, stub) as answers:
        asking: list[Any] = [partial(load.evaluate, budgets), load.weigh]
        await load.run(name, asking)
    evaluations, probes = sorted(load.evaluations), sorted(load.probes)
    return {
        "load": name,
        "reports": len(load.reports),
        "reports_p50_ms": round(load.reports[len(load.reports) // 2] * 1000),
        "reports_p99_ms": round(load.reports[len(load.reports) * 99 // 100] * 1000),
        "evaluation_p50_ms": round(evaluations[len(evaluations) // 2] * 1000) if evaluations else 0,
        "evaluation_max_ms": round(evaluations[-1] * 1000) if evaluations else 0,
        "ready_max_ms": round(probes[-1] * 1000),
        "answered": answers.statuses[200],
        "refused": sum(number for status, number in answers.statuses.items() if status != 200),
        "server_mib": round(load.server_mib),
        "processes_mib": round(load.processes_mib),
        "yardstick_ms": round(yardstick_ms(), 1),
    }


async def measure(base: Path, workloads: int, seconds: float) -> list[Figures]:
    """Both phases by turns, twice, on one server."""
    rows: list[Figures] = []
    async with serving_a_month(base, workloads, review) as (server, now):
        take_precedence()
        for name in ("idle", "people", "idle", "people"):
            rows.append(await phase(name, server, seconds, base, now))
            print(f".. {rows[-1]}", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Both phases, with reports of so many nodes."""
    given = arguments(f"{__doc__} Reports come from {NODES} nodes.")
    raise_file_limit()
    with tempfile.TemporaryDirectory() as directory:
        workloads, seconds = (500, 20.0) if given.quick else (3_000, 30.0)
        show(asyncio.run(measure(Path(directory), workloads, seconds)), given.json)


if __name__ == "__main__":
    main()
