"""What an hour of 5,000 workloads costs to export: reading it, writing each format, and all of it with a real receiver.

`read_s` is from the stored hour to rows, `encode_s` the pieces and bodies of all batches. `hour_s` is a whole step
with cursor, requests and answers, `cpu_s` its CPU time in the server's process. `peak_mib` is what the step adds to
the largest memory.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show
from tests.exports.exporting import HOUR, Export, full_hour_ago, settings_of, upkeep
from tests.exports.receivers import InfluxServer, PrometheusReceiver, Receiver, VictoriaMetrics
from tests.ledger.reports import a_report, book
from tests.postgres import PostgresServer

from carbonbudget_operator.exports.exported_rows import content_digest
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate

NODES = 50


def fill(engine: sa.Engine, workloads: int, first: int, hours: int) -> None:
    """Hours in which each workload has a pod, on 50 nodes and in 100 namespaces."""
    booker = Booker(engine)
    for n in range(hours):
        for node in range(NODES):
            mine = range(node, workloads, NODES)
            for part, namespace in enumerate((f"team-{node}", f"other-{node}")):
                pods = {f"w-{number}": 10**9 + number for number in mine if number // NODES % 2 == part}
                report = a_report(first + n * HOUR + 60 * part, f"n{node}", pods, namespace=namespace)
                book(booker, report)


def target(kind: str, receiver: Receiver) -> dict[str, object]:
    more: dict[str, dict[str, object]] = {
        "influx v1": {"kind": "influx", "url": receiver.url, "database": "cb"},
        "influx v2": {"kind": "influx", "url": receiver.url, "bucket": "cb"},
        "remote write": {"kind": "remoteWrite", "url": f"{receiver.url}/api/v1/write"},
    }
    return {"name": kind.replace(" ", "-"), "timeout_seconds": 60, **more[kind]}


def measure(engine: sa.Engine, workloads: int, kind: str, receiver: Receiver, first: int, hours: int) -> Figures:
    """Send all hours to the receiver; figures are means of one hour."""
    now = first + hours * HOUR + 1000
    export = Export(engine, settings_of(target(kind, receiver)))
    planner, format_ = export.sender._planner, export.sender._format
    began = time.monotonic()
    content = planner.content(first)
    read_s = time.monotonic() - began
    assert content is not None
    began = time.monotonic()
    pieces = list(format_.pieces(first, content.rows, 1))
    bodies = [format_.body(pieces[at : at + 5000]) for at in range(0, len(pieces), 5000)]
    encode_s = time.monotonic() - began
    assert content_digest(content.rows)

    async def steps() -> None:
        while await export.step(now):
            pass
        await export.close()

    before, began, cpu = _peak_mib(), time.monotonic(), time.process_time()
    asyncio.run(steps())
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    assert export.count("hours_waiting") == export.count("rows_refused_total") == 0
    return {
        "database": engine.dialect.name, "workloads": workloads, "target": kind,
        "receiver": type(receiver).__name__, "rows": len(pieces),
        "body_kib": round(sum(map(len, bodies)) / 1024), "read_s": round(read_s, 2), "encode_s": round(encode_s, 2),
        "hour_s": round(seconds / hours, 2), "cpu_s": round(cpu / hours, 2), "peak_mib": round(_peak_mib() - before, 1),
    }  # fmt: skip


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Three receivers, both databases."""
    given = arguments(__doc__ or "")
    workloads, hours = (500, 1) if given.quick else (5_000, 3)
    first = full_hour_ago(hours + 2)
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o711)
        urls: list[Callable[[], str]] = [lambda: f"sqlite:///{directory}/ledger.db"]
        servers: list[PostgresServer] = []
        if PostgresServer.bin() is not None:
            (directory / "pg").mkdir()
            servers.append(PostgresServer(directory / "pg"))
            urls.append(servers[0].database)
        for number, url in enumerate(urls):
            engine = open_ledger(url())
            migrate(engine)
            fill(engine, workloads, first, hours)
            upkeep(engine, settings_of(), first + hours * HOUR + 1000)
            for kind, make in (
                ("influx v1", InfluxServer), ("influx v2", VictoriaMetrics), ("remote write", PrometheusReceiver),
            ):  # fmt: skip
                (folder := directory / f"{make.__name__}-{number}").mkdir()
                receiver = make(folder)
                found.append(measure(engine, workloads, kind, receiver, first, hours))
                receiver.stop()
            engine.dispose()
        for server in servers:
            server.stop()
    show(found, given.json)


if __name__ == "__main__":
    main()
