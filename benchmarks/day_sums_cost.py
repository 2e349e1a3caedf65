"""What upkeep takes to make the sums of all days by namespace, as after an upgrade from a version without them.

The ledger has 760 days, the 25 months that a server keeps, of which each day has a row for each of many workloads in
50 namespaces. `seconds` is on the clock, `cpu_s` of this process, for all days; `step_p50_ms` and `step_max_ms` of one.
`nothing_ms` is a step of upkeep that finds nothing to do.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa
from benchmarks.figures import Figures, arguments, show, yardstick_ms
from tests.postgres import PostgresServer

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import BulkInsert
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.stored_units import DAYS, NAMESPACE_DAYS
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow, ValuedUnit
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.unit_calendar import signatures, unit_end
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY, HOUR = 86_400, 3600
FIRST = 1_696_118_400  # 2023-10-01


def fill(engine: sa.Engine, days: int, workloads: int) -> None:
    """Every unit of the days is stored, but only the days themselves have rows: no step reads the others'."""
    book = ValuedReader(engine, Settings())
    hours = dict.fromkeys(range(FIRST, FIRST + days * DAY, HOUR), 1)
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.hour_revision), [{"hour": hour, "revision": 1} for hour in hours])
    wanted = signatures(hours)
    first_day = next(key for key in wanted if key[0] == DAYS)
    rows = [
        ValuedRow(
            FIRST, FIRST + DAY, "", "Scope 2", f"team-{w % 50}", f"Deployment/w{w}", {"project": f"p{w % 400}"},
            [(w + 1) * 10**9 + column for column in range(COLUMNS)], frozenset({"DE 330 g/kWh"}),
        )
        for w in range(workloads)
    ]  # fmt: skip
    book.derived.save(ValuedUnit(DAYS, FIRST, rows, [(FIRST, FIRST + DAY, 1)]), FIRST + DAY, wanted.pop(first_day))
    with engine.begin() as connection:
        derivation = book.derived.id(connection)
        columns = ("derivation_id", "level", "start", "end", "signature", "reported")
        put = BulkInsert(connection.dialect, schema.valued_unit, columns, columns[:3])
        put.put(connection, (
            (derivation, level, start, unit_end(start, level), signature, "[]")
            for (level, start), signature in wanted.items()
        ))  # fmt: skip
        row = schema.valued_row
        copied = [column.name for column in row.columns]
        for start in range(FIRST + DAY, FIRST + days * DAY, DAY):
            its = {"start": sa.literal(start, sa.BigInteger), "end": sa.literal(start + DAY, sa.BigInteger)}
            chosen = sa.select(*(its.get(name, row.c[name]) for name in copied)).where(row.c.start == FIRST)
            connection.execute(sa.insert(row).from_select(copied, chosen))
    print(f".. {engine.dialect.name}, {workloads} workloads: filled", file=sys.stderr, flush=True)


def measure(url: str, days: int, workloads: int) -> Figures:
    """All steps of one ledger."""
    engine = open_ledger(url)
    migrate(engine)
    fill(engine, days, workloads)
    now = FIRST + days * DAY + HOUR
    steps = UpkeepSteps(ValuedReader(engine, Settings()), 10**4, 10**4)
    steps.begin(now)
    made, each = 0, []
    began, busy = time.monotonic(), time.process_time()
    while True:
        at = time.monotonic()
        key = steps.step(now)
        if key is None:
            break
        assert key[0] == NAMESPACE_DAYS
        each.append(1000 * (time.monotonic() - at))
        made += 1
    figures: Figures = {
        "database": engine.dialect.name,
        "workloads": workloads,
        "made": made,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_s": round(time.process_time() - busy, 1),
        "step_p50_ms": round(statistics.median(each), 1),
        "step_max_ms": round(max(each), 1),
    }
    began = time.monotonic()
    steps.begin(now)
    assert steps.step(now) is None
    figures["nothing_ms"] = round(1000 * (time.monotonic() - began), 1)
    engine.dispose()
    return figures | {"yardstick_ms": round(yardstick_ms(), 1)}


def main() -> None:
    """Both databases."""
    given = arguments(__doc__ or "")
    days, sizes = (60, [500]) if given.quick else (760, [500, 5_000])
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        for workloads in sizes:
            found.append(measure(f"sqlite:///{directory}/ledger-{workloads}.db", days, workloads))
        if PostgresServer.bin() is not None:
            (Path(directory) / "pg").mkdir()
            server = PostgresServer(Path(directory) / "pg")
            found += [measure(server.database(), days, workloads) for workloads in sizes]
            server.stop()
    show(found, given.json)


if __name__ == "__main__":
    main()
