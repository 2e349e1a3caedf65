"""What spans cost the server: 1,000 pods post a span a minute to a real server over TLS, beside reports of their nodes.

The first minutes have reports alone, the next ones have spans too: the difference is what spans cost. The growth of the
ledger is taken inside one hour, where the facts of the hour do not grow.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import ingest_cost
from benchmarks.figures import Figures, arguments, cpu_seconds, show, yardstick_ms
from benchmarks.ingest_cost import ACCOUNT, PODS, objects, pod_uid, post_minute
from tests.serving import URL, serving

from carbonbudget_operator.ingest.connection_limits import raise_file_limit

_SPREAD_SECONDS = 15.0
# Thirty pods in each: the server keeps 64 connections of a namespace.
ingest_cost.namespace_of = lambda node, pod: f"team-{node}"


async def review(request: web.Request) -> web.Response:
    """TokenReview: a node's name, or `NAMESPACE/NAME/UID` of a pod."""
    spec = (await request.json())["spec"]
    prefix = "authentication.kubernetes.io/"
    if "/" in spec["token"]:
        namespace, name, uid = spec["token"].split("/")
        user = {
            "username": f"system:serviceaccount:{namespace}:default",
            "extra": {f"{prefix}pod-name": [name], f"{prefix}pod-uid": [uid]},
        }
    else:
        user = {"username": ACCOUNT, "extra": {f"{prefix}node-name": [spec["token"]]}}
    return web.json_response({"status": {"authenticated": True, "audiences": spec["audiences"], "user": user}})


class Pod:
    """One training: it posts the span of its last minute. `kept`: over one connection, else over a new one each."""

    def __init__(self, node: int, number: int, trust: ssl.SSLContext, kept: bool) -> None:
        self._token = f"team-{node}/pod-{number}/{pod_uid(node, number)}"
        self._at = (node * 37 + number) % 100 / 100
        keep: dict[str, Any] = {"keepalive_timeout": 300} if kept else {"force_close": True}
        connector = aiohttp.TCPConnector(ssl=trust, limit=1, **keep)
        self._session = aiohttp.ClientSession(connector=connector)
        self.refused = self.again = 0

    async def post(self, start: int, minute: int) -> None:
        """POST /v1/self/spans."""
        await asyncio.sleep(_SPREAD_SECONDS * self._at)
        start_ms = (start + 60 * (minute - 1)) * 1000
        span = {
            "id": f"{minute:08x}", "name": "epoch", "step": minute, "start_ms": start_ms, "end_ms": start_ms + 60_000,
            "cpu_us": [minute * 10**7, minute * 10**7 + 9_000_000],
        }  # fmt: skip
        body = json.dumps({"run": "exp-42", "spans": [span]}).encode()
        headers = {"Authorization": f"Bearer {self._token}"}
        while True:
            try:
                async with self._session.post(f"{URL}/v1/self/spans", data=body, headers=headers) as answer:
                    if (await answer.json()).get("accepted") != 1:
                        self.refused += 1
                    return
            except aiohttp.ClientConnectionError:  # the server keeps so many connections of one address
                self.again += 1
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        """Close its connection."""
        await self._session.close()


async def measure(nodes: int, minutes: int, kept: bool) -> Figures:
    """One server on SQLite; `nodes` times 30 pods."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        ledger = base / "ledger.db"
        async with serving(base, f"sqlite:///{ledger}", review, objects(nodes)) as server:
            sessions = [
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=server.trust, limit=1, keepalive_timeout=300))
                for _ in range(nodes)
            ]
            pods = [Pod(node, number, server.trust, kept) for node in range(nodes) for number in range(PODS)]
            try:
                start = (int(time.time()) // 3600 - 1) * 3600
                await post_minute(sessions, f"{URL}/v1/reports", start, _SPREAD_SECONDS)
                plain = await _minutes(server.pid, sessions, [], start, range(1, 1 + minutes))
                await _minutes(
                    server.pid, sessions, pods, start, range(1 + minutes, 3 + minutes)
                )  # tokens, connections
                for pod in pods:
                    pod.refused = pod.again = 0
                first = _bytes(ledger)
                with_spans = await _minutes(server.pid, sessions, pods, start, range(3 + minutes, 3 + 2 * minutes))
                growth = _bytes(ledger) - first
            finally:
                await asyncio.gather(*(one.close() for one in (*sessions, *pods)))
        return {
            "pods": len(pods),
            "connections": "kept" if kept else "new",
            "cpu_seconds_reports": round(plain, 2),
            "cpu_seconds_with_spans": round(with_spans, 2),
            "cpu_seconds_spans": round(with_spans - plain, 2),
            "ledger_mb_per_day": round(growth / minutes * 1440 / 1e6),
            "refused": sum(pod.refused for pod in pods),
            "sent_again": sum(pod.again for pod in pods),
            "yardstick_ms": round(yardstick_ms(), 1),
        }


async def _minutes(
    pid: int, sessions: list[aiohttp.ClientSession], pods: list[Pod], start: int, minutes: range
) -> float:
    """CPU seconds of the server for a minute."""
    used = cpu_seconds(pid)
    for minute in minutes:
        reports = post_minute(sessions, f"{URL}/v1/reports", start + 60 * minute, _SPREAD_SECONDS)
        await asyncio.gather(reports, *(pod.post(start, minute) for pod in pods))
    return (cpu_seconds(pid) - used) / len(minutes)


def _bytes(ledger: Path) -> int:
    """The pages that hold something; the log of what is not yet in the file is counted as pages."""
    engine = sa.create_engine(f"sqlite:///{ledger}")
    with engine.connect() as connection:
        pages, free, size = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
            for name in ("page_count", "freelist_count", "page_size")
        )
    engine.dispose()
    return (pages - free) * size


def main() -> None:
    """990 pods on 33 nodes; --quick: 120 pods."""
    given = arguments(__doc__ or "")
    raise_file_limit()
    nodes, minutes = (4, 5) if given.quick else (33, 12)
    show([asyncio.run(measure(nodes, minutes, kept)) for kept in (True, False)], given.json)


if __name__ == "__main__":
    main()
