"""Collects what pods post at the same time, and stores it in one transaction.

One thread writes, with a connection of its own. A transaction takes few milliseconds, so that no report waits for it
longer; what comes meanwhile is the next one. Namespaces take turns, post by post: a namespace that posts much waits for
itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.span_store import Post, SpanStore
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server.worker_pools import WorkerPool

_MOST_WAITING: Final = 1_000
MOST_RECORDS: Final = 2_000  # of a transaction: some 30 ms
_PAUSE_SECONDS: Final = 0.5  # in which others come: a transaction costs as much as some posts
_COME_AGAIN_SECONDS: Final = 5
_Waiting = tuple[Post, "asyncio.Future[bool]"]


# Errors of SQLAlchemy that are about a record. A database that is away or full raises others, for all that is posted.
_OF_A_RECORD: Final = (sa.exc.DataError, sa.exc.IntegrityError)


class _NotStorable(Exception):
    """A post in the batch that the ledger does not take."""


class SpanInbox:
    """Stores the posts of each namespace in the order in which they come. Only the event loop uses it."""

    def __init__(self, pool: WorkerPool, store: SpanStore, writer: LedgerWriter, now: Callable[[], float]) -> None:
        """`writer` stores the windows of tracked pods: who posts is one of them from then on."""
        self._pool, self._store, self._writer, self._now = pool, store, writer, now
        self._waiting: dict[str, deque[_Waiting]] = {}  # by namespace, in the order of their turns
        self._number = 0
        self._task: asyncio.Task[None] | None = None

    async def put(self, post: Post) -> None:
        """Store it; returns after the commit.

        Raises:
            Refusal: 503 if too many wait or the ledger fails, 429 if the namespace posted too much today, 422 if the
                ledger cannot hold what was posted.
        """
        if self._number >= _MOST_WAITING:
            raise Refusal(
                503, "busy", f"{_MOST_WAITING} posts wait for the ledger: try again later", _COME_AGAIN_SECONDS
            )
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(post.namespace, deque()).append((post, future))
        self._number += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._store_all())
        if not await future:
            day = 86_400
            raise Refusal(
                429,
                "day",
                f"the pods of namespace {post.namespace} have posted {self._store.most_of_a_day} spans and unit counts "
                "today, which is the limit (server.spans.records_per_day): try again after midnight UTC",
                day - int(self._now()) % day,
            )

    async def _store_all(self) -> None:
        while self._waiting:
            batch, records = [self._next()], 0
            while self._waiting and (records := records + batch[-1][0].records) < MOST_RECORDS:
                batch.append(self._next())
            await self._store_batch(batch)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _next(self) -> _Waiting:
        """The oldest post of the namespace whose turn it is; its next one has to wait for those of all others."""
        namespace = next(iter(self._waiting))
        posts = self._waiting.pop(namespace)
        found = posts.popleft()
        if posts:
            self._waiting[namespace] = posts
        self._number -= 1
        return found

    async def _store_batch(self, batch: list[_Waiting]) -> None:
        posts, now = [post for post, _ in batch], int(self._now())

        def store() -> list[bool]:
            try:
                return self._store.store(posts, now)
            except _OF_A_RECORD as error:  # not of the database: it would refuse the same again
                raise _NotStorable(f"the ledger does not take what was posted: {type(error).__name__}") from None

        try:
            stored = await self._pool.ask(lambda _: store())
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Refusal):  # one that cannot be stored must not harm the others
                half = len(batch) // 2
                await self._store_batch(batch[:half])
                await self._store_batch(batch[half:])
                return
            if isinstance(error, _NotStorable):
                error = Refusal(422, "malformed", str(error))
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        self._writer.tracked.follow(post.uid for post in posts)
        for (_, future), is_stored in zip(batch, stored, strict=True):
            if not future.done():  # the client went away
                future.set_result(is_stored)
