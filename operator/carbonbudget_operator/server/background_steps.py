"""Repeats the server's background work, and pauses it while the ledger has the schema of another version.

Work that reads by the earlier schema would fail at each step, or store figures that lack what only the other one has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger.ledger_engine import LedgerReplaced, reason_of
from carbonbudget_operator.ledger.write_locks import OtherSchema, require_own_schema

_FRESH_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class BackgroundSteps:
    """All background work of a server on one ledger."""

    def __init__(self, engine: sa.Engine, now: Callable[[], float] = time.monotonic) -> None:
        """`now` returns seconds of any clock."""
        self._engine, self._now = engine, now
        self._fresh_until = float("-inf")
        self._reason = ""

    async def every(
        self, seconds: float, trouble: str, step: Callable[[], Awaitable[object]],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        """Call `step` again and again, with a pause of `seconds`. A failure is logged once until `step` succeeds again.

        That the ledger has another schema is logged once for all work, which waits until it is the server's own again.
        """
        failing = False
        while True:
            try:
                if await self._may_go_on():
                    await step()
                    failing = False
            except Exception as error:
                if not failing and not _is_about_schema(error):
                    _log.error("%s: %s", trouble, error)
                    failing = True
            await sleep(seconds)

    async def _may_go_on(self) -> bool:
        """Whether the ledger had the server's schema at the last check, which is made every five seconds at most."""
        if self._now() >= self._fresh_until:
            self._fresh_until = self._now() + _FRESH_SECONDS
            reason = await asyncio.to_thread(self._check)
            if reason and reason != self._reason:
                _log.error(
                    "%s; until then background work pauses, and reports and questions are refused with 503", reason
                )
            elif self._reason and not reason:
                _log.info("the ledger has the schema of this server: background work goes on")
            self._reason = reason
        return not self._reason

    def _check(self) -> str:
        """Return why nothing may be stored, empty if it may. The last reason stays if the database does not answer."""
        try:
            require_own_schema(self._engine)
        except OtherSchema as error:
            return reason_of(error)
        except sa.exc.SQLAlchemyError:  # each step reports that
            return self._reason
        return ""


def _is_about_schema(error: BaseException | None) -> bool:
    """Whether it was raised, or caused, by a schema that changed since the last check."""
    while error is not None:
        if isinstance(error, LedgerReplaced | OtherSchema):
            return True
        error = error.__cause__
    return False
