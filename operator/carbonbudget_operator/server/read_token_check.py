"""Finds the record of a read token, for the public API.

All live tokens are in memory and are read again after 10 seconds, when one is used. So random tokens cost no query, and
a revocation holds everywhere within 10 seconds. Expiry is compared at each use.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Caller, Unauthenticated, UsedReadToken
from carbonbudget_operator.ledger.read_tokens import ReadToken, hash_of, live_tokens, note_use
from carbonbudget_operator.logs import FailureLog
from carbonbudget_operator.server.worker_pools import WorkerPool

FRESH_SECONDS: Final = 10.0
_DAY: Final = 86_400
_WHO: Final = "read tokens"
_log = logging.getLogger(__name__)


def creator_text(caller: Caller) -> str:
    """The JSON of whose rights bound a token."""
    extra = {name: list(values) for name, values in caller.extra.items()}
    return json.dumps({"user": caller.user, "uid": caller.uid, "groups": list(caller.groups), "extra": extra})


class ReadTokenCheck:
    """One event loop uses it. `pool` has the threads that read the ledger, `now` returns UTC seconds."""

    def __init__(self, pool: WorkerPool, cluster: str, now: Callable[[], float]) -> None:
        self._pool, self._cluster, self._now = pool, cluster, now
        self._live: Mapping[bytes, ReadToken] = {}
        self._until = 0.0
        self._reading = asyncio.Lock()
        self._used: dict[int, int] = {}  # the day that was recorded last, by token
        self._failures = FailureLog()

    async def caller(self, token: str) -> Caller:
        """The token's creator, restricted to its namespaces: a token can never do more than its creator may now.

        Raises:
            Unauthenticated: there is no such token, or it is revoked or expired.
            Refusal: the ledger does not answer.
        """
        now = int(self._now())
        record = (await self._current(now)).get(hash_of(token))
        if record is None or record.expires_at <= now:
            raise Unauthenticated("the read token is unknown, revoked or expired: create another one")
        await self._note(record, now)
        who = json.loads(record.creator)
        extra = {name: tuple(values) for name, values in who["extra"].items()}
        used = UsedReadToken(record.id, record.name)
        return Caller(who["user"], who["uid"], tuple(who["groups"]), extra, "", record.namespaces, used)

    def forget(self) -> None:
        """Read the tokens again at the next use, because one was created or revoked here."""
        self._until = 0.0

    async def _current(self, now: int) -> Mapping[bytes, ReadToken]:
        async with self._reading:
            if time.monotonic() >= self._until:
                async with self._pool.turn(_WHO):
                    self._live = await self._pool.ask(
                        lambda queries: live_tokens(queries.book.engine, self._cluster, now)
                    )
                self._until = time.monotonic() + FRESH_SECONDS
            return self._live

    async def _note(self, record: ReadToken, now: int) -> None:
        day = now - now % _DAY
        if max(record.last_used or 0, self._used.get(record.id, 0)) >= day:
            return
        self._used[record.id] = day
        try:
            async with self._pool.turn(_WHO):
                await self._pool.ask(lambda queries: note_use(queries.book.engine, record.id, now))
        except Refusal as refusal:  # a reader is answered all the same
            self._used.pop(record.id, None)
            if self._failures.begins(_WHO):
                _log.warning("the use of read token %d is not recorded: %s", record.id, refusal.reason)
        else:
            self._failures.ends(_WHO)
