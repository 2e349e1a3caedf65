"""Checks that the ledger answers, has our schema and can be written to: for /readyz, and before each question.

Anybody may call /readyz, so one check serves many callers. A busy database is slow and answers. A database that has not
answered for some seconds counts as unavailable for all callers.
"""

from __future__ import annotations

import asyncio
from typing import Final

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.ledger_engine import silence
from carbonbudget_operator.ledger.read_only_database import require_writable
from carbonbudget_operator.ledger.write_locks import require_own_schema
from carbonbudget_operator.server.worker_pools import WorkerPool

_FRESH_SECONDS: Final = 1.0
_SILENT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 0.1  # a probe is answered in 0.2 s


class Readiness:
    """One check of the ledger serves all callers while it runs, and for a second after it has ended."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._check: asyncio.Task[Refusal | None] | None = None
        self._began = self._fresh_until = 0.0
        self._sound = False  # the result of the last check that ended

    @property
    def silent(self) -> Refusal | None:
        """The refusal for all requests while a check has been running for too long; None while the ledger answers."""
        if self._check is None or self._check.done() or self._now() - self._began < _SILENT_SECONDS:
            return None
        return Refusal(503, "ledger", str(silence(self._pool.queries.book.engine)), 10)

    def explain(self, error: Refusal) -> Refusal:
        """The refusal to send for `error`: while the ledger does not answer, that is the reason for each 503."""
        return self.silent or error if error.status == 503 else error

    async def check(self) -> None:
        """Raises Refusal 503 with the reason if the ledger does not answer.

        While a check has been running for a few seconds only, the result before it counts: the ledger may be busy.
        """
        if self._check is None or (self._check.done() and self._now() >= self._fresh_until):
            self._began = self._now()
            self._check = asyncio.create_task(self._run_check())
        if not self._check.done() and self.silent is None:
            seconds = _PATIENCE_SECONDS if self._sound else _SILENT_SECONDS
            await asyncio.wait({self._check}, timeout=seconds)
        refusal = self._check.result() if self._check.done() else self.silent
        if refusal is None and not self._check.done() and not self._sound:
            refusal = Refusal(503, "ledger", str(silence(self._pool.queries.book.engine)), 10)
        if refusal is not None:
            raise refusal

    async def _run_check(self) -> Refusal | None:
        refusal: Refusal | None = None
        try:
            async with self._pool.turn("probes"):
                await self._pool.ask(_ask_ledger)
        except Refusal as error:
            refusal = error
        self._fresh_until = self._now() + _FRESH_SECONDS
        self._sound = refusal is None
        return refusal

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _ask_ledger(queries: BudgetUseQueries) -> None:
    """Read from the ledger, and have the database say that it can be written to. Raises SQLAlchemyError.

    The schema first: by another one the facts may not be readable at all.
    """
    require_own_schema(queries.book.engine)
    queries.data_through()
    require_writable(queries.book.engine)
