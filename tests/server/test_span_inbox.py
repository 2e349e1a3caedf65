"""Posts of one namespace wait for each other, not those of another one for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

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
