"""Posts of one namespace wait for each other, not those of another one for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import sqlalchemy as sa

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.span_store import Post, SpanStore
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server.span_inbox import SpanInbox
from carbonbudget_operator.server.worker_pools import WorkerPool
from carbonbudget_operator.spans.span_record import Span


class Ledger:
    """Stands in for store, pool and writer; keeps the namespaces of each transaction."""

    most_of_a_day = 1_000_000

    def __init__(self) -> None:
        self.stored: list[list[str]] = []
        self.tracked = self

    async def ask(self, work: Callable[[object], list[bool]]) -> list[bool]:
        return work(None)

    def store(self, posts: Sequence[Post], _: int) -> list[bool]:
        self.stored.append([post.namespace for post in posts])
        return [True] * len(posts)

    def follow(self, uids: Any) -> None:
        list(uids)


def a_post(namespace: str, number: int, spans: int) -> Post:
    return Post(namespace, f"{namespace}-{number}", spans=[Span(str(at), "a", None, 0, 1) for at in range(spans)])


async def test_a_namespace_that_posts_much_delays_no_other() -> None:
    ledger: Any = Ledger()
    inbox = SpanInbox(cast(WorkerPool, ledger), cast(SpanStore, ledger), cast(LedgerWriter, ledger), lambda: 0.0)
    many = [asyncio.create_task(inbox.put(a_post("team-a", number, 1_000))) for number in range(100)]
    few = [asyncio.create_task(inbox.put(a_post("team-b", number, 1))) for number in range(2)]
    await asyncio.wait_for(asyncio.gather(*few), 5)
    assert ledger.stored[0].count("team-b") == 1
    assert len(ledger.stored) == 2  # of 52: a namespace's second post waits for the first ones of all others
    for task in many:
        task.cancel()
    await asyncio.gather(*many, return_exceptions=True)
    if inbox._task is not None:
        inbox._task.cancel()


class Refusing(Ledger):
    """Takes nothing of one namespace, as a database does that finds a value in it that it cannot hold."""

    def store(self, posts: Sequence[Post], now: int) -> list[bool]:
        super().store(posts, now)
        if any(post.namespace == "team-bad" for post in posts):
            raise sa.exc.DataError("INSERT", {}, ValueError("a value"))
        return [True] * len(posts)


class Away(Ledger):
    """Is away for all."""

    def store(self, posts: Sequence[Post], now: int) -> list[bool]:
        super().store(posts, now)
        raise Refusal(503, "ledger", "the ledger is away", 10)


async def put_all(ledger: Any, namespaces: Sequence[str]) -> list[object]:
    """What each of these namespaces' posts, all put at once, comes to."""
    inbox = SpanInbox(cast(WorkerPool, ledger), cast(SpanStore, ledger), cast(LedgerWriter, ledger), lambda: 0.0)
    tasks = [asyncio.create_task(inbox.put(a_post(namespace, 0, 1))) for namespace in namespaces]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    if inbox._task is not None:
        inbox._task.cancel()
    return list(found)


async def test_what_the_database_cannot_hold_is_refused_for_good_and_harms_no_other_namespace() -> None:
    ledger = Refusing()
    names = [f"team-{number}" for number in range(30)]
    *others, bad = await put_all(ledger, [*names, "team-bad"])
    assert others == [None] * 30
    assert isinstance(bad, Refusal)
    assert bad.status == 422  # the client drops it, and does not send it for ever
    assert len(ledger.stored) <= 2 * 6  # by halves


@pytest.mark.parametrize("posts", [1, 30])
async def test_a_ledger_that_is_away_is_asked_once_for_all_that_is_posted(posts: int) -> None:
    ledger = Away()
    found = await put_all(ledger, [f"team-{number}" for number in range(posts)])
    assert [getattr(one, "status", None) for one in found] == [503] * posts
    assert len(ledger.stored) == 1
