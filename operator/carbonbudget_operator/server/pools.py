"""The server's worker pools: who runs where, on which of the ledger's connections, within which limits.

Reports have the writer's thread, and a pool of connections that nobody else takes from. Upkeep (derivation, sealing,
owners, nodes, grid) has asyncio's default executor, which nobody else uses. Probes, the questions of the operator's own
accounts, and what closes reports have threads each. People's questions have processes (`server/workers.py`): threads
share one interpreter lock with the reports, and cannot be ended.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestLimits, RequestShare
from carbonbudget_operator.ledger.store import LedgerError, ledger_errors, open_ledger, silence
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_P = ParamSpec("_P")
_T = TypeVar("_T")
UPKEEP_THREADS: Final = 4
_MIB: Final = 2**20
_WAIT_SECONDS: Final = 20.0  # the controller gives a question 30 s
_ANSWER_SECONDS: Final = 25.0
_PROBE_SECONDS: Final = 9.0  # Prometheus gives a scrape 10 s
_COME_AGAIN_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class QueryAllowance:
    """How much one request may ask for, added up over its questions; more is refused with 422.

    `workloads`: how many its answers may name. `answer_bytes`: how long its answer may be.
    """

    questions: int
    spans: int
    workloads: int
    hours: int  # 8 bytes each, and as many digits in the answer
    answer_bytes: int

    def check(self, what: Literal["questions", "spans", "hours"], number: int) -> None:
        """Raise Refusal 422 if `number` of them are too many."""
        most: int = getattr(self, what)
        if number > most:
            reason = f"{number} {what} in one request, at most {most} for this caller: ask in parts"
            raise Refusal(422, "unanswerable", reason)


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as it also travels to a worker process. `kind` is the name of its function in
    `server/ledger_answers.py`.

    `body` is what the caller sent, `parsed` the same where this process has parsed it, `given` what else the function
    takes. `now` is the UTC second.
    """

    kind: str
    now: int
    allowance: QueryAllowance
    body: bytes = b""
    given: Mapping[str, Any] = field(default_factory=dict)
    parsed: BaseModel | None = None


class Answers(Protocol):
    """Answers questions from the ledger, in whatever thread or process it is called."""

    def answer(self, question: Question) -> bytes:
        """The answer as JSON. Raises Refusal."""


class Answerer(Protocol):
    """Where one kind of caller's questions are answered."""

    def turn(self, who: str, long: bool = False) -> AbstractAsyncContextManager[None]:
        """The caller's turn; `long` for what takes minutes. Raises Refusal 503 if it does not come in time."""

    async def run(self, work: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> _T:
        """Call a short function, such as one that parses a body, in a thread of this kind of caller."""

    async def answer(self, question: Question, long: bool = False) -> bytes:
        """The answer as JSON. Raises Refusal."""


class Turns:
    """A queue: `size` callers have a turn at once, one caller has `each` of them, `waiting` wait `seconds` for one."""

    def __init__(self, name: str, size: int, each: int, waiting: int, seconds: float | None = None) -> None:
        self._name, self._size, self._each, self._most_waiting = name, size, each, waiting
        self._wait_seconds = seconds
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """The caller's turn: the first that came and may run is the next.

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

    async def _wait(self, who: str) -> None:
        if len(self._waiting) >= self._most_waiting:
            raise self._busy(f"{self._most_waiting} of them wait already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (who, turn)
        self._waiting.append(place)
        seconds = _WAIT_SECONDS if self._wait_seconds is None else self._wait_seconds
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if place in self._waiting:
                self._waiting.remove(place)
            else:  # the turn came in the same moment
                self._end(who)
            if isinstance(error, TimeoutError):
                raise self._busy(f"this one waited {seconds:.0f} s for its turn") from None
            raise

    def _may_run(self, who: str) -> bool:
        return self._running.total() < self._size and self._running[who] < self._each

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


class WorkerPool:
    """Threads for one kind of question. `each` is how many of one caller's run at once.

    An asker is refused after `seconds` (None: never); the thread goes on, and others wait for it.
    """

    def __init__(
        self,
        name: str,
        queries: BudgetUseQueries,
        threads: int,
        each: int,
        waiting: int,
        seconds: float | None = _ANSWER_SECONDS,
    ) -> None:
        self.queries = queries
        self._turns = Turns(name, threads, each, waiting)
        self._seconds = seconds
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    @asynccontextmanager
    async def turn(self, who: str, long: bool = False) -> AsyncIterator[None]:
        """The caller's turn, see `Turns`."""
        async with self._turns.turn(who):
            yield

    async def run(self, work: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> _T:
        """Call `work` in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(*args, **options))

    async def ask(
        self, work: Callable[Concatenate[BudgetUseQueries, _P], _T], *args: _P.args, **options: _P.kwargs
    ) -> _T:
        """Call `work` in one of the threads with what answers from the ledger.

        Raises:
            Refusal: 503 if the ledger fails, or does not answer in time.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self.run(self._told, lambda: work(self.queries, *args, **options))
        except TimeoutError:
            raise Refusal(503, "ledger", str(silence(self.queries.book.engine)), 10) from None

    def close(self) -> None:
        """End the threads, after the work that they do."""
        self._executor.shutdown()

    def _told(self, work: Callable[[], _T]) -> _T:
        try:
            with ledger_errors(self.queries.book.engine):
                return work()
        except LedgerError as error:
            raise Refusal(503, "ledger", str(error), 10) from None


class OperatorPool(WorkerPool):
    """The threads that answer the operator's own accounts."""

    def __init__(self, name: str, queries: BudgetUseQueries, answers: Answers, threads: int, waiting: int) -> None:
        super().__init__(name, queries, threads, threads, waiting)
        self._answers = answers

    async def answer(self, question: Question, long: bool = False) -> bytes:
        """The answer as JSON. Raises Refusal."""
        return await self.ask(lambda _: self._answers.answer(question))


@dataclass(frozen=True, slots=True)
class QueryWorkers:
    """What one kind of caller has: who answers it, memory, and how much a request may ask for."""

    pool: Answerer
    share: RequestShare
    allowance: QueryAllowance


class WorkerPools:
    """All of them, on one ledger. `max_body_bytes` is the largest report, and the operator's largest question."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        max_body_bytes: int,
        answers: Callable[[BudgetUseQueries, Settings], Answers],
        people: Answerer,
    ) -> None:
        self._engines: list[sa.Engine] = []
        self.settings = settings
        # The writer's thread, and the controller's questions that add cuts.
        self.ingest = self._open(url, 3)
        self.upkeep = self._open(url, UPKEEP_THREADS + 1)
        self.book = ValuedReader(self.upkeep, settings)
        queries = BudgetUseQueries(self.book)
        self.reports = RequestShare(
            "reports", RequestLimits(2_000, 8, 8 * max_body_bytes, max_body_bytes, max_body_bytes)
        )
        self.probes = WorkerPool(
            "probes", queries.on(self._open(url, 1)), 1, each=1, waiting=16, seconds=_PROBE_SECONDS
        )
        # A look at the ledger has a thread of its own: one that is stuck must not hold up the metrics.
        # It is under way until the ledger answers: that tells how long it has been silent.
        self.looks = WorkerPool(
            "looks at the ledger", queries.on(self._open(url, 1)), 1, each=1, waiting=1, seconds=None
        )
        self.closing = WorkerPool("closures of reports", queries.on(self._open(url, 1)), threads=1, each=1, waiting=8)
        asked = queries.on(self._open(url, 2))
        name = "questions of the operator"
        self.operator = OperatorPool(name, asked, answers(asked, settings), threads=2, waiting=32)
        self.operator_readers = QueryWorkers(
            self.operator,
            RequestShare(name, RequestLimits(64, 16, 8 * max_body_bytes, 8 * max_body_bytes, max_body_bytes)),
            QueryAllowance(10_000, spans=10_000, workloads=200_000, hours=2_000_000, answer_bytes=8 * max_body_bytes),
        )
        self.people = people
        most = 32 * _MIB
        self.cluster_readers = QueryWorkers(
            people,
            RequestShare("questions about the whole cluster", RequestLimits(64, 16, 2 * most, most, _MIB)),
            QueryAllowance(1_000, spans=1_000, workloads=50_000, hours=500_000, answer_bytes=most),
        )
        self.namespace_readers = QueryWorkers(
            people,
            RequestShare("questions about namespaces", RequestLimits(64, 4, most, 4 * _MIB, 256 * 1024)),
            QueryAllowance(1_000, spans=100, workloads=10_000, hours=100_000, answer_bytes=4 * _MIB),
        )

    def close(self) -> None:
        """End the threads and close the connections."""
        for pool in (self.probes, self.looks, self.closing, self.operator):
            pool.close()
        for engine in self._engines:
            engine.dispose()

    def _open(self, url: str, connections: int) -> sa.Engine:
        engine = open_ledger(url, connections)
        self._engines.append(engine)
        return engine
