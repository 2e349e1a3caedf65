"""Whether the ledger answers. Anybody may ask, so that the ledger is not asked each time.

A busy ledger is slow and answers; one that has not answered for some seconds is away, for all callers alike.
"""

from __future__ import annotations

import asyncio
from typing import Final

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.store import silence
from carbonbudget_operator.server.pools import WorkerPool

_FRESH_SECONDS: Final = 1.0
_SILENT_SECONDS: Final = 5.0
_GLANCE_SECONDS: Final = 0.1  # a probe is answered in 0.2 s


class Readiness:
    """One look at the ledger serves all who ask while it is under way, and for a second after."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._look: asyncio.Task[Refusal | None] | None = None
        self._began = self._fresh_until = 0.0
        self._sound = False  # the last look that ended

    @property
    def silent(self) -> Refusal | None:
        """The refusal for all while a look has been under way for too long; None as long as the ledger answers."""
        if self._look is None or self._look.done() or self._now() - self._began < _SILENT_SECONDS:
            return None
        return Refusal(503, "ledger", str(silence(self._pool.queries.book.engine)), 10)

    def explain(self, error: Refusal) -> Refusal:
        """The refusal to send for `error`: while the ledger does not answer, that is the reason for each 503."""
        return self.silent or error if error.status == 503 else error

    async def check(self) -> None:
        """Raises Refusal 503 with the reason if the ledger does not answer.

        While a look is under way for a few seconds only, the former one counts: the ledger may be busy.
        """
        if self._look is None or (self._look.done() and self._now() >= self._fresh_until):
            self._began = self._now()
            self._look = asyncio.create_task(self._ask_ledger())
        if not self._look.done() and self.silent is None:
            seconds = _GLANCE_SECONDS if self._sound else _SILENT_SECONDS
            await asyncio.wait({self._look}, timeout=seconds)
        refusal = self._look.result() if self._look.done() else self.silent
        if refusal is None and not self._look.done() and not self._sound:
            refusal = Refusal(503, "ledger", str(silence(self._pool.queries.book.engine)), 10)
        if refusal is not None:
            raise refusal

    async def _ask_ledger(self) -> Refusal | None:
        refusal: Refusal | None = None
        try:
            async with self._pool.turn("probes"):
                await self._pool.ask(lambda queries: queries.data_through())
        except Refusal as error:
            refusal = error
        self._fresh_until = self._now() + _FRESH_SECONDS
        self._sound = refusal is None
        return refusal

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
