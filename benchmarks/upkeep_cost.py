"""How long upkeep holds up reports: a window is booked every 20 ms while a large ledger drops, seals and forgets.

The ledger holds kept rows of two months, of which the first is older than is kept; hours with pods' facts that are to
be sealed; pods whose hours were sealed; and what former settings left. Longest and typical time of a booking, in
milliseconds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show
from tests.ledger.reports import a_report, arrival
from tests.postgres import PostgresServer

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.bulk_rows import BulkInsert
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.valued_rows import COLUMNS
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR, DAY = 3600, 86_400
FIRST = 1_754_006_400  # 2025-08-01
SECOND = FIRST + 31 * DAY
NOW = FIRST + 61 * DAY  # the first of October: with one month kept, August is too old
NODES = 50


def fill(engine: sa.Engine, rows: int) -> None:
    """`rows` of kept rows in each month, a tenth of it under former settings, a tenth of pods, facts of an hour."""
    book = ValuedReader(engine, Settings())
    booker = Booker(engine)
    booker.book([arrival(a_report(FIRST, f"n{node}")) for node in range(NODES)])
    hour = SECOND - SECOND % HOUR - 3 * HOUR + 4 * DAY
    booker.book([arrival(a_report(hour, f"n{node}", {f"s{node}-{i}": 5 for i in range(rows // 20 // NODES)}))
                 for node in range(NODES)])  # fmt: skip
    with engine.connect() as connection:
        book.derived.save(book.make(connection, hour), hour + HOUR, f"{hour}:1")
        derivation = book.derived.id(connection)
    assert derivation is not None
    with engine.begin() as connection:
        connection.execute(
            sa.insert(schema.derivation).values(id=derivation + 1, digest=b"f" * 16, description="former")
        )
        names = [column.name for column in schema.valued_row.columns]
        put = BulkInsert(connection.dialect, schema.valued_row, names, names[:4])
        groups = rows // (31 * 24)
        for kind, month, its in (
            (derivation, FIRST, groups),
            (derivation, SECOND, groups),
            (derivation + 1, SECOND, groups // 10),
        ):
            units = []
            for at in range(month, month + 30 * DAY, HOUR):
                if at != hour:
                    units.append((kind, 0, at, at + HOUR, f"{at}:1", "[]"))
                    put.put(connection, ((kind, 0, at, group, at + HOUR, 1, *[0] * COLUMNS) for group in range(its)))
            columns = ("derivation_id", "level", "start", "end", "signature", "reported")
            BulkInsert(connection.dialect, schema.valued_unit, columns, columns[:3]).put(connection, units)
        hours = [(at, 1) for month in (FIRST, SECOND) for at in range(month, month + 30 * DAY, HOUR)]
        BulkInsert(connection.dialect, schema.hour_revision, ("hour", "revision"), ("hour",)).put(connection, hours)
        sealed = [("default", at, derivation, NOW) for at, _ in hours if at != hour]
        BulkInsert(connection.dialect, schema.sealed_hour, ("cluster", "hour", "derivation_id", "sealed_at"),
             ("cluster", "hour")).put(connection, sealed)  # fmt: skip
        node = connection.scalar(sa.select(sa.func.min(schema.node.c.id)))
        labels = connection.scalar(sa.select(sa.func.min(schema.label_set.c.id)))
        pods = (
            (node, f"gone-{i}", labels, "team-a", f"p{i}", "Job", f"j{i}", f"job-{i}", SECOND)
            for i in range(rows // 10)
        )
        columns = ("node_id", "uid", "label_set_id", "namespace", "name", "controller_kind", "controller_name",
                   "controller_uid", "last_hour")  # fmt: skip
        BulkInsert(connection.dialect, schema.pod, columns, columns[:0] or ("uid", "node_id", "label_set_id")).put(
            connection, pods
        )
        owners = ((f"job-{i}", "CronJob", f"c{i}", "u") for i in range(rows // 10))
        BulkInsert(connection.dialect, schema.owner, ("uid", "kind", "name", "owner_uid"), ("uid",)).put(
            connection, owners
        )


def held_up(engine: sa.Engine, work: Callable[[], object]) -> tuple[float, float, float]:
    """Longest and median booking in milliseconds while `work` runs, and how many seconds that took."""
    done, took = threading.Event(), list[float]()

    def ask() -> None:
        booker, window = Booker(engine), 0
        while not done.is_set() or not took:
            came = arrival(a_report(NOW - HOUR + 60 * (window % 60), f"live-{window // 60}"))
            began = time.monotonic()
            with suppress(sa.exc.OperationalError):  # SQLite gave up after ten seconds: that long it was
                booker.book([came])
            took.append(1000 * (time.monotonic() - began))
            window += 1
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    began = time.monotonic()
    work()
    seconds = time.monotonic() - began
    done.set()
    asking.join()
    return max(took), statistics.median(took), seconds


def measure(url: str, rows: int) -> list[Figures]:
    """Each step of upkeep by itself."""
    engine = open_ledger(url)
    migrate(engine)
    fill(engine, rows)
    deriver = UpkeepSteps(ValuedReader(engine, Settings()), 25, 1)
    deriver._since = NOW - DAY  # the settings have been in force for a day

    def seal() -> None:
        while deriver.seal(NOW) is not None:
            pass

    found: list[Figures] = []
    for name, work in (
        ("seal and forget", seal),
        ("drop", lambda: deriver.drop(NOW)),
        ("nothing", lambda: time.sleep(2)),
    ):
        longest, median, seconds = held_up(engine, work)
        found.append(
            {
                "database": engine.dialect.name,
                "rows": 2 * rows,
                "step": name,
                "longest_booking_ms": round(longest),
                "median_booking_ms": round(median, 1),
                "step_s": round(seconds, 1),
            }
        )
    engine.dispose()
    return found


def main() -> None:
    """Both databases at two sizes."""
    given = arguments(__doc__ or "")
    sizes = [20_000] if given.quick else [100_000, 1_000_000]
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        for rows in sizes:
            found += measure(f"sqlite:///{directory}/ledger-{rows}.db", rows)
        if PostgresServer.bin() is not None:
            (Path(directory) / "pg").mkdir()
            server = PostgresServer(Path(directory) / "pg")
            for rows in sizes:
                found += measure(server.database(), rows)
            server.stop()
    show(found, given.json)


if __name__ == "__main__":
    main()
