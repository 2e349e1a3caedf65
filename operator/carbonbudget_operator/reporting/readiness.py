"""Whether the server is ready: its ledger answers. Anybody may ask, so that the ledger is not asked each time."""

from __future__ import annotations

import asyncio
from typing import Final

from carbonbudget_operator.reporting.pools import Pool

_FRESH_SECONDS: Final = 1.0


class Readiness:
    """One look at the ledger serves all who ask while it is under way, and for a second after."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._look: asyncio.Task[None] | None = None
        self._fresh_until = 0.0

    async def check(self) -> None:
        """Raises Refusal 503 with the reason if the ledger does not answer."""
        if self._look is None or (self._look.done() and asyncio.get_running_loop().time() >= self._fresh_until):
            self._look = asyncio.create_task(self._ask_ledger())
        await asyncio.shield(self._look)

    async def _ask_ledger(self) -> None:
        try:
            async with self._pool.turn("probes"):
                await self._pool.ask(lambda queries: queries.data_through())
        finally:
            self._fresh_until = asyncio.get_running_loop().time() + _FRESH_SECONDS
