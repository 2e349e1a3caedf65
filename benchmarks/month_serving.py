"""A real server on a ledger that holds a month, for the benchmarks of people's questions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.budget_query_cost import DAY, HOUR, fill
from tests.serving import Answer, Serving, serving

from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader


@asynccontextmanager
async def serving_a_month(
    base: Path, workloads: int, review: Answer, read: Answer | None = None
) -> AsyncIterator[tuple[Serving, int]]:
    """A server on an SQLite ledger with a month of `workloads`, ready; and the UTC second at which the month ends.

    `review` and `read` answer for the API server: `tests.serving`.
    """
    url = f"sqlite:///{base}/ledger.db"
    engine = open_ledger(url)
    migrate(engine)
    now = int(time.time()) // HOUR * HOUR - HOUR
    begins = (now - 31 * DAY) // DAY * DAY
    fill(engine, ValuedReader(engine, Settings()), workloads, every_hour=False, begins=begins, ends=now)
    engine.dispose()
    async with serving(base, url, review, read) as server:
        yield server, now
