"""Keeps SQLite's write-ahead log short while people ask all the time: their questions wait while it is emptied."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger.ledger_engine import LedgerError
from carbonbudget_operator.ledger.write_ahead_log import LONG_BYTES, copy_log, empty_log, log_bytes
from carbonbudget_operator.server.worker_queue import QuestionQueue

_QUIET_SECONDS: Final = 2.0  # so long at most people's questions wait for the others' end, and then for the log's
_EMPTY_SECONDS: Final = 1.0  # longer than a worker's snapshot stays open without a question


async def shorten_log(engine: sa.Engine, people: QuestionQueue) -> None:
    """Empty SQLite's log if it is long. People's questions wait meanwhile, at most twice `_QUIET_SECONDS`.

    Raises LedgerError if it could not be emptied in that time.
    """
    if await asyncio.to_thread(log_bytes, engine) < LONG_BYTES:
        return
    await asyncio.to_thread(copy_log, engine)
    emptied = False
    async with people.paused(_QUIET_SECONDS):
        with suppress(TimeoutError):  # no thread was free: the pause ends all the same
            async with asyncio.timeout(_QUIET_SECONDS):
                emptied = await asyncio.to_thread(empty_log, engine, _EMPTY_SECONDS)
    if not emptied:
        raise LedgerError(
            "in the time for it there was always a reader, or no free thread: it grows until the next try"
        )
