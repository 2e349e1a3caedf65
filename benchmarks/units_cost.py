"""How long it takes to read 30 days of hourly units of 1,000 targets, and of ten times as many.

Each target has a counter of its own with three pods. The ledger is filled first, which is not measured. All counters
are read and decoded one after the other, as the server does it. Times are CPU time. Bound: 1 s for 1,000 targets.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import sqlalchemy as sa
from figures import Figures, arguments, show

from carbonbudget_operator.ledger.bulk_rows import BulkInsert
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.unit_days import DAY, HOUR, with_hour
from carbonbudget_operator.ledger.unit_store import UnitStore, WantedCounter, read_units
from carbonbudget_operator.ledger.unit_tables import unit_day
from carbonbudget_operator.units.counter_expression import CounterExpression

FIRST = 20_000 * DAY
DAYS, PODS = 30, 3
TOKENS = CounterExpression("vllm:generation_tokens_total")


def fill(engine: sa.Engine, targets: int, pods: int) -> None:
    """Counters of as many namespaces, each with all hours of 30 days."""
    store = UnitStore(engine, "default")
    names = [f"team-{n}" for n in range(targets)]
    store.register([WantedCounter(name, TOKENS, FIRST) for name in names], FIRST)
    put = BulkInsert(
        engine.dialect, unit_day, ("counter_id", "day", "states", "refused", "pods"), ("counter_id", "day")
    )
    for part in range(0, len(stored := store.counters()), 200):
        rows = []
        for one in stored[part : part + 200]:
            states, text = "." * 24, "[]"
            for index in range(24):
                counts = {(one.namespace, f"chat-7c9d8b6f5-{n:05d}"): 1_234_567_000_000 + n for n in range(pods)}
                states, text = with_hour(states, text, index, "c", counts)
            rows += [(one.id, FIRST + day * DAY, states, "", text) for day in range(DAYS)]
        with engine.begin() as connection:
            put.put(connection, rows)


def read(engine: sa.Engine, targets: int) -> tuple[float, int]:
    """Seconds, and how many hours of pods were read."""
    wanted = [(f"team-{n}", TOKENS) for n in range(targets)]
    begin, found = time.process_time(), 0
    with engine.connect() as connection:
        for hours in read_units(connection, "default", wanted, FIRST, FIRST + DAYS * DAY).values():
            assert len(hours.states) == DAYS * DAY // HOUR
            found += sum(map(len, hours.units.values()))
    return time.process_time() - begin, found


def main() -> None:
    """One row for each size."""
    asked = arguments(__doc__ or "")
    rows: list[Figures] = []
    for targets in (100, 1_000) if asked.quick else (100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as directory:
            engine = open_ledger(f"sqlite:///{Path(directory) / 'units.db'}")
            migrate(engine)
            fill(engine, targets, PODS)
            seconds, found = min(read(engine, targets) for _ in range(3))
            rows.append({"targets": targets, "pods_each": PODS, "counts": found, "cpu_s": round(seconds, 2)})
            engine.dispose()
    show(rows, asked.json)


if __name__ == "__main__":
    main()
