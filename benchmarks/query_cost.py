"""What a question over 90 days costs, by number of workloads: summed up by a label, over kept units of time.

The hours before are kept as the server keeps them; the span begins and ends inside a month, and inside a day, so
that shorter units have to be read too. Asked five times; the median is told.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa
from benchmarks.figures import Figures, arguments, show
from tests.postgres import PostgresServer

from carbonbudget_operator.answers.allocation_groups import allocation_json, group_rows
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.stored_units import DAYS, HOURS, NAMESPACE_DAYS, QUARTERS
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow, ValuedUnit
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.unit_calendar import signatures, unit_end
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 86_400
END = 1_763_985_600 + 11 * 3600  # 2025-11-24 11:00
START = END - 90 * DAY


def fill(engine: sa.Engine, book: ValuedReader, workloads: int) -> None:
    """Kept units of 90 days; each workload has a row in each."""
    hours = dict.fromkeys(range(START, END, 3600), 1)
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.hour_revision), [{"hour": hour, "revision": 1} for hour in hours])
    for (level, start), signature in signatures(hours).items():
        end = unit_end(start, level)
        edge = start < START - START % DAY + DAY or start >= END - END % DAY
        if (level in (HOURS, QUARTERS) and not edge) or end > END:
            continue  # inside a whole day they are not read
        rows = [
            ValuedRow(
                start, end, "", "Scope 2", f"team-{w % 50}", f"Deployment/w{w}", {"project": f"p{w % 400}"},
                [(w + 1) * 10**9 + column for column in range(COLUMNS)], frozenset({"DE 330 g/kWh"}),
            )
            for w in range(workloads)
        ]  # fmt: skip
        book.derived.save(ValuedUnit(level, start, rows, [(start, end, 1)]), end, signature)
        if level == DAYS:
            with engine.connect() as connection:
                summed = book.derived.sum_up(connection, [(DAYS, start)], NAMESPACE_DAYS, start, end)
            book.derived.save(summed, end, book.derived.namespace_signature(signature))
    print(f".. {workloads} workloads: kept", file=sys.stderr, flush=True)


def measure(url: str, workloads: int) -> Figures:
    """One ledger, one question."""
    engine = open_ledger(url)
    migrate(engine)
    book = ValuedReader(engine, Settings())
    fill(engine, book, workloads)
    times, cpu = [], []
    for _ in range(5):
        began, busy = time.perf_counter(), time.process_time()
        result = allocation_json(group_rows(book.rows(START, END), ["label:project"], []), (START, END))
        times.append(time.perf_counter() - began)
        cpu.append(time.process_time() - busy)
    with engine.connect() as connection:
        units = len(book.units(connection, START, END))
    engine.dispose()
    rows = result["rows"]
    assert isinstance(rows, list)
    return {
        "database": engine.dialect.name,
        "workloads": workloads,
        "units": units,
        "labels": len(rows),
        "milliseconds": round(statistics.median(times) * 1000),
        "cpu_milliseconds": round(statistics.median(cpu) * 1000),
    }


def main() -> None:
    """All sizes on both databases."""
    given = arguments(__doc__ or "")
    sizes = [50, 500] if given.quick else [50, 500, 5000]
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        for workloads in sizes:
            found.append(measure(f"sqlite:///{directory}/ledger-{workloads}.db", workloads))
        if PostgresServer.bin() is not None:
            (Path(directory) / "pg").mkdir()
            server = PostgresServer(Path(directory) / "pg")
            found += [measure(server.database(), workloads) for workloads in sizes]
            server.stop()
    show(found, given.json)


if __name__ == "__main__":
    main()
