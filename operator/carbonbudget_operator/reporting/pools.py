"""The server's worker pools: who runs in which threads, on which of the ledger's connections, within which limits.

Reports have the writer's thread, and a pool of connections that nobody else takes from. Upkeep (derivation, sealing,
owners, nodes, grid) has asyncio's default executor, which nobody else uses. Probes, the questions of who may read the
whole cluster, and other people's questions have a pool each, so that none of them waits for another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Concatenate, Final, Literal, ParamSpec, TypeVar

import sqlalchemy as sa

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.shares import Limits, Share
from carbonbudget_operator.ledger.store import LedgerError, open_ledger, told
from carbonbudget_operator.reporting.book import Book
from carbonbudget_operator.reporting.query import Queries
from carbonbudget_operator.settings import Settings

_P = ParamSpec("_P")
_T = TypeVar("_T")
UPKEEP_THREADS: Final = 4
_MIB: Final = 2**20
_WAIT_SECONDS: Final = 20.0  # the controller gives a question 30 s
_COME_AGAIN_SECONDS: Final = 5


class Pool:
    """Threads for one kind of question. `each` is how many of one caller's run at once."""

    def __init__(self, name: str, queries: Queries, threads: int, each: int, waiting: int) -> None:
        self.queries = queries
        self._name, self._threads, self._each, self._most_waiting = name, threads, each, waiting
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    async def run(self, work: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> _T:
        """Call `work` in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(*args, **options))

    async def ask(self, work: Callable[Concatenate[Queries, _P], _T], *args: _P.args, **options: _P.kwargs) -> _T:
        """Call `work` in one of the threads with what answers from the ledger. Raises Refusal 503 if that fails."""
        return await self.run(self._told, lambda: work(self.queries, *args, **options))

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """The caller's turn: as many have one as there are threads, the first that came and may run is the next.

        Raises:
            Refusal: 503 if too many wait, or the turn does not come in time.
        """
        if self._may_run(who):
            self._running[who] += 1
        else:
            await self._wait(who)
        try:
            yield
        finally:
            self._end(who)

    def close(self) -> None:
        """End the threads, after the work that they do."""
        self._executor.shutdown()

    async def _wait(self, who: str) -> None:
        if len(self._waiting) >= self._most_waiting:
            raise self._busy(f"{self._most_waiting} of them wait already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (who, turn)
        self._waiting.append(place)
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await turn
        except BaseException as error:
            if place in self._waiting:
                self._waiting.remove(place)
            else:  # the turn came in the same moment
                self._end(who)
            if isinstance(error, TimeoutError):
                raise self._busy(f"this one waited {_WAIT_SECONDS:.0f} s for its turn") from None
            raise

    def _told(self, work: Callable[[], _T]) -> _T:
        try:
            with told(self.queries.book.engine):
                return work()
        except LedgerError as error:
            raise Refusal(503, "ledger", str(error), 10) from None

    def _may_run(self, who: str) -> bool:
        return self._running.total() < self._threads and self._running[who] < self._each

    def _end(self, who: str) -> None:
        self._running[who] -= 1
        if not self._running[who]:
            del self._running[who]
        for place in self._waiting:
            next_who, turn = place
            if not turn.done() and self._may_run(next_who):  # done: its time is up, and it does not know yet
                self._waiting.remove(place)
                self._running[next_who] += 1
                turn.set_result(None)
                return

    def _busy(self, why: str) -> Refusal:
        return Refusal(503, "busy", f"{self._name} are busy, {why}: try again later", _COME_AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much one request may ask for, added up over its questions; more is refused with 422.

    `workloads`: how many its answers may name.
    """

    questions: int
    spans: int
    workloads: int
    hours: int  # 8 bytes each, and as many digits in the answer

    def check(self, what: Literal["questions", "spans", "hours"], number: int) -> None:
        """Raise Refusal 422 if `number` of them are too many."""
        most: int = getattr(self, what)
        if number > most:
            reason = f"{number} {what} in one request, at most {most} for this caller: ask in parts"
            raise Refusal(422, "unanswerable", reason)


@dataclass(frozen=True, slots=True)
class Readers:
    """What one kind of caller has: threads and connections, memory, and how much a request may ask for."""

    pool: Pool
    share: Share
    allowance: Allowance


class Pools:
    """All of them, on one ledger. `max_body_bytes` is the largest report, and question about the whole cluster."""

    def __init__(self, url: str, settings: Settings, max_body_bytes: int) -> None:
        self._engines: list[sa.Engine] = []
        self.settings = settings
        # The writer's thread, and the controller's questions that add cuts.
        self.ingest = self._open(url, 3)
        self.upkeep = self._open(url, UPKEEP_THREADS + 1)
        self.book = Book(self.upkeep, settings)
        queries = Queries(self.book)
        self.reports = Share("reports", Limits(2_000, 8, 8 * max_body_bytes, max_body_bytes, max_body_bytes))
        self.probes = Pool("probes", queries.on(self._open(url, 1)), threads=1, each=1, waiting=16)
        # A year's report takes minutes: it waits for other reports, and no budget's question waits for it.
        self.periods = Pool("reports of periods", queries.on(self._open(url, 1)), threads=1, each=1, waiting=8)
        self.cluster_readers = Readers(
            Pool("questions about the whole cluster", queries.on(self._open(url, 2)), threads=2, each=2, waiting=32),
            Share(
                "questions about the whole cluster",
                Limits(64, 16, 16 * max_body_bytes, 8 * max_body_bytes, max_body_bytes),
            ),
            Allowance(questions=10_000, spans=10_000, workloads=200_000, hours=2_000_000),
        )
        # Python runs one thread at a time: a second one here would take as much from reports as the first.
        self.namespace_readers = Readers(
            Pool("questions about namespaces", queries.on(self._open(url, 1)), threads=1, each=1, waiting=32),
            Share("questions about namespaces", Limits(64, 4, 32 * _MIB, 4 * _MIB, 256 * 1024)),
            Allowance(questions=1_000, spans=100, workloads=10_000, hours=100_000),
        )

    def close(self) -> None:
        """End the threads and close the connections."""
        for pool in (self.probes, self.periods, self.cluster_readers.pool, self.namespace_readers.pool):
            pool.close()
        for engine in self._engines:
            engine.dispose()

    def _open(self, url: str, connections: int) -> sa.Engine:
        engine = open_ledger(url, connections)
        self._engines.append(engine)
        return engine
