"""What ingest costs the server: simulated nodes with 30 pods post a minute's reports to a real server over TLS.

TokenReview is answered by a small local API server; everything else is the real process, on a SQLite ledger and
on a PostgreSQL of Debian's, whose own CPU time stands beside the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import statistics
import sys
import tempfile
import time
import uuid
import zlib
from pathlib import Path

import aiohttp
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, cpu_seconds, rss_mib, show, yardstick_ms
from tests.postgres import PostgresServer
from tests.serving import URL, Answer, serving

from carbonbudget_core.node_report import Allocatable, DomainUse, NodeInfo, NodeReport, PodRequests, PodUsage
from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ingest.connection_limits import raise_file_limit

PODS = 30
# Agents with windows of 60 s send within 7.5 s; here they have twice that, since they share two cores with the server.
SPREAD_SECONDS = 15.0
ACCOUNT = "system:serviceaccount:carbonbudget-agent:carbonbudget-agent"


def a_report(node: int, start: int, seconds: int = 60) -> str:
    """One node's window of so many seconds."""
    pods = tuple(
        PodUsage(
            pod_uid(node, i), namespace_of(node, i), f"pod-{i}", labels={"app": f"a{i % 9}"},
            energy_uj={"cpu": 1000 + i}, cpu_us=10_000, memory_byte_seconds=10**9,
            requests=PodRequests(100, 2**27, 0), duration_ms=1000 * seconds,
        )
        for i in range(PODS)
    )  # fmt: skip
    total = 9_000 + sum(pod.energy_uj["cpu"] for pod in pods)
    domain = DomainUse("cpu", "model", "wall", 1000 * seconds, total, 8_000, 900, 100)
    info = NodeInfo(threads=64, allocatable=Allocatable(64_000, 2**38, 0))
    return encode_report(NodeReport("default", f"node-{node}", "boot", start, start + seconds, (domain,), pods, info))


def namespace_of(node: int, pod: int) -> str:
    """Where the pod runs."""
    return f"team-{pod % 5}"


def pod_uid(node: int, pod: int) -> str:
    """As the API server has them."""
    return str(uuid.UUID(int=(node << 64) + pod))


def node_object(name: str) -> web.Response:
    """What the node has: as it reports."""
    has = {"cpu": "64", "memory": str(2**38)}
    return web.json_response({"metadata": {"name": name}, "status": {"capacity": has, "allocatable": has}})


def pod_row(node: int, pod: int) -> dict[str, object]:
    """One row of the table, on its node."""
    metadata = {"name": f"pod-{pod}", "namespace": namespace_of(node, pod), "uid": pod_uid(node, pod)}
    return {"cells": [f"pod-{pod}", f"node-{node}"], "object": {"metadata": metadata}}


def pod_table(nodes: int, limit: int, after: int) -> web.Response:
    """A page of all nodes' pods."""
    end = min(after + limit, nodes * PODS)
    rows = [pod_row(*divmod(i, PODS)) for i in range(after, end)]
    metadata = {"resourceVersion": "1"} | ({"continue": str(end)} if end < nodes * PODS else {})
    columns = [{"name": "Name"}, {"name": "Node"}]
    return web.json_response({"metadata": metadata, "columnDefinitions": columns, "rows": rows})


async def pod_watch(request: web.Request) -> web.StreamResponse:
    """No pod comes or goes: a bookmark a minute, as a real API server sends them, until the client ends it."""
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    await answer.prepare(request)
    seen = {"metadata": {"resourceVersion": "1"}}
    row = {"cells": [], "object": seen}
    bookmark = json.dumps({"type": "BOOKMARK", "object": {**seen, "rows": [row]}}).encode() + b"\n"
    with contextlib.suppress(ConnectionResetError):
        while True:
            await answer.write(bookmark)
            await asyncio.sleep(60)
    return answer


def objects(nodes: int) -> Answer:
    """What the API server has: each node, and all nodes' pods."""

    async def read(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/api/v1/nodes/"):
            return node_object(request.match_info["path"].rpartition("/")[2])
        if request.path == "/api/v1/pods" and "watch" in request.query:
            return await pod_watch(request)
        if request.path == "/api/v1/pods":
            return pod_table(nodes, int(request.query["limit"]), int(request.query.get("continue", 0)))
        raise web.HTTPNotFound

    return read


async def review(request: web.Request) -> web.Response:
    """TokenReview: the token is the node's name."""
    spec = (await request.json())["spec"]
    extra = {"authentication.kubernetes.io/node-name": [spec["token"]]}
    status = {"authenticated": True, "audiences": spec["audiences"], "user": {"username": ACCOUNT, "extra": extra}}
    return web.json_response({"status": status})


async def post_minute(
    sessions: list[aiohttp.ClientSession], url: str, start: int, spread_seconds: float = SPREAD_SECONDS
) -> list[float]:
    """All nodes' reports of one minute, sent as agents do: gzip, each over its own connection, each at its own moment
    of the seconds after the window's end. The answers' times in seconds.
    """
    bodies = [gzip.compress(a_report(node, start).encode(), 5) for node in range(len(sessions))]
    times: list[float] = []

    async def sent(node: int, body: bytes) -> bool:
        headers = {"Authorization": f"Bearer node-{node}", "Content-Encoding": "gzip"}
        async with sessions[node].post(url, data=body, headers=headers) as answer:
            if answer.status not in (200, 503):
                raise SystemExit(f"report refused: {answer.status} {await answer.text()}")
            return answer.status == 200

    async def post(node: int, body: bytes) -> None:
        await asyncio.sleep(spread_seconds * (zlib.crc32(f"node-{node}".encode()) % 1000) / 1000)
        began = time.perf_counter()
        while not await sent(node, body):  # 503: an agent tries again too
            await asyncio.sleep(1)
        times.append(time.perf_counter() - began)

    await asyncio.gather(*(post(node, body) for node, body in enumerate(bodies)))
    return times


async def measure(nodes: int, minutes: int, database: str) -> Figures:
    """One server, `minutes` simulated minutes of `nodes` nodes."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        base.chmod(0o711)
        postgres = None
        if database == "postgresql":
            (base / "pg").mkdir()
            postgres = PostgresServer(base / "pg")
        url = postgres.database() if postgres else f"sqlite:///{base}/ledger.db"
        try:
            async with serving(base, url, review, objects(nodes)) as server:
                # As agents do: one connection a node, which is kept from one minute to the next.
                sessions = [
                    aiohttp.ClientSession(
                        connector=aiohttp.TCPConnector(ssl=server.trust, limit=1, keepalive_timeout=300)
                    )
                    for _ in range(nodes)
                ]
                try:
                    figures = await _drive(sessions, server.pid, postgres, minutes)
                finally:
                    await asyncio.gather(*(session.close() for session in sessions))
                sizes = [file.stat().st_size for file in base.glob("ledger.db*")]
                size = postgres.size_bytes() if postgres else sum(sizes)
                return {"database": database, **figures, "ledger_bytes_per_pod_hour": size // (nodes * PODS)}
        finally:
            if postgres is not None:
                postgres.stop()


async def _drive(
    sessions: list[aiohttp.ClientSession], pid: int, postgres: PostgresServer | None, minutes: int
) -> Figures:
    url, nodes = URL, len(sessions)
    start = (int(time.time()) // 3600 - 1) * 3600
    # Connections are made, tokens and pods become known: what agents do over several minutes, since they are told 503.
    await post_minute(sessions, f"{url}/v1/reports", start, 30.0)
    used, times, yardsticks = cpu_seconds(pid), [], []
    used_by_database = postgres.cpu_seconds() if postgres else 0.0
    for minute in range(1, minutes + 1):
        times += await post_minute(sessions, f"{url}/v1/reports", start + 60 * minute)
        yardsticks.append(yardstick_ms())
        print(f".. {nodes} nodes, minute {minute} of {minutes}", file=sys.stderr, flush=True)
    times.sort()
    by_database = postgres.cpu_seconds() - used_by_database if postgres else 0.0
    return {
        "nodes": nodes,
        "minutes": minutes,
        "cpu_seconds_per_minute": round((cpu_seconds(pid) - used) / minutes, 2),
        "database_cpu_seconds_per_minute": round(by_database / minutes, 2),
        "yardstick_ms": round(statistics.median(yardsticks), 1),
        "rss_mib": rss_mib(pid),
        "p50_ms": round(times[len(times) // 2] * 1000, 1),
        "p99_ms": round(times[len(times) * 99 // 100] * 1000, 1),
    }


async def main() -> None:
    """All sizes in one run."""
    given = arguments(__doc__ or "")
    sizes = [(50, 1), (500, 1)] if given.quick else [(50, 10), (500, 10), (5000, 10)]
    raise_file_limit()
    databases = ["sqlite"] + ["postgresql"] * (PostgresServer.bin() is not None)
    rows: list[Figures] = []
    for database in databases:
        for size in sizes:
            rows.append(await measure(*size, database))
            print(f".. {rows[-1]}", file=sys.stderr, flush=True)
    show(rows, given.json)


if __name__ == "__main__":
    asyncio.run(main())
