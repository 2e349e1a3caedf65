"""What the ledger takes on disk: for each pod-hour of facts, each workload-hour and each workload's day that is kept.

An hour is booked as agents send it, 60 windows a node; then it is valued, and its day. Sizes are of the database's
file (SQLite, after a vacuum) or of the database with its indexes (PostgreSQL, after one too).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show
from benchmarks.ingest_cost import PODS, a_report
from tests.postgres import PostgresServer

from carbonbudget_operator.ingest.node_report_body import parse_report
from carbonbudget_operator.ledger.booking import Booker, CheckedReport
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.stored_units import DAYS, HOURS
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 1_763_985_600


def size(engine: sa.Engine) -> int:
    """Bytes, once what was freed is given back."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM FULL")
            return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar() or 0)
        connection.exec_driver_sql("VACUUM")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar() or 0)


def named(report: str, node: int) -> bytes:
    """Each pod a workload of its own."""
    return report.replace('"pod-', f'"pod-{node}-').encode()


def measure(url: str, nodes: int) -> Figures:
    """Two hours of facts (the first one pays for names and labels too), then what is kept of them."""
    engine = open_ledger(url)
    migrate(engine)
    booker = Booker(engine)
    sizes = [size(engine)]
    for hour in (HOUR, HOUR + 3600):
        for minute in range(60):
            start = hour + 60 * minute
            booker.book([CheckedReport(*parse_report(named(a_report(node, start), node))) for node in range(nodes)])
        sizes.append(size(engine))
    book = ValuedReader(engine, Settings())
    units = []
    with engine.connect() as connection:
        units = [book.make(connection, hour) for hour in (HOUR, HOUR + 3600)]
    for unit in units:
        book.derived.save(unit, unit.start + 3600, "x")
        sizes.append(size(engine))
    rows = len(units[1].rows)
    midnight = HOUR - HOUR % 86_400
    with engine.connect() as connection:
        hours = [(unit.level, unit.start) for unit in units]
        day = book.derived.sum_up(connection, hours, DAYS, midnight, midnight + 86_400)
    book.derived.save(day, day.start + 86_400, "x")
    sizes.append(size(engine))
    engine.dispose()
    assert units[0].level == HOURS
    return {
        "database": engine.dialect.name,
        "pods": nodes * PODS,
        "rows": rows,
        "first_pod_hour_bytes": round((sizes[1] - sizes[0]) / (nodes * PODS)),
        "pod_hour_bytes": round((sizes[2] - sizes[1]) / (nodes * PODS)),
        "workload_hour_bytes": round((sizes[4] - sizes[3]) / rows),
        "workload_day_bytes": round((sizes[5] - sizes[4]) / len(day.rows)),
    }


def main() -> None:
    """Both databases at two sizes."""
    given = arguments(__doc__ or "")
    sizes = [20] if given.quick else [40, 400]
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)

        found += [measure(f"sqlite:///{directory}/ledger-{nodes}.db", nodes) for nodes in sizes]
        if PostgresServer.bin() is not None:
            (Path(directory) / "pg").mkdir()
            server = PostgresServer(Path(directory) / "pg")
            found += [measure(server.database(), nodes) for nodes in sizes]
            server.stop()
    show(found, given.json)


if __name__ == "__main__":
    main()
