"""The server's worker pools: the threads and database connections of each kind of work, and their limits.

Node reports have the writer's thread and connections of their own. Upkeep (stored units, sealing, owners, nodes, grid)
has asyncio's default executor, which nothing else uses. Metrics, readiness checks, the operator's questions,
projections and the closing of reports have threads each. People's questions have processes (`server/worker_queue.py`),
because threads share one interpreter lock with the node reports and cannot be ended.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestLimits, RequestShare
from carbonbudget_operator.ledger.ledger_engine import LedgerError, bound_statements, ledger_errors, open_ledger
from carbonbudget_operator.server.ledger_refusal import ledger_away
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_P = ParamSpec("_P")
_T = TypeVar("_T")
UPKEEP_THREADS: Final = 4
_MIB: Final = 2**20
VERSION_BYTES: Final = 100  # at most, of a version and its line break
_WAIT_SECONDS: Final = 20.0  # the controller gives a question 30 s
_ANSWER_SECONDS: Final = 25.0
STATEMENT_MARGIN_SECONDS: Final = 5.0  # the database ends a statement so much later than its asker is refused
_PROBE_SECONDS: Final = 9.0  # Prometheus gives a scrape 10 s
_COME_AGAIN_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class QueryAllowance:
    """How much one request may ask for, summed over its questions; more is refused with 422.

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
    takes. `now` is the UTC second, `seconds` the limit of the answer in a worker process, `is_long` whether it may take
    minutes, `others_wait` whether more questions wait for a worker. `asked_at` is when it was asked, by
    time.monotonic(): its answer has all that was stored before.

    `known`: the versions of the answer that the caller has. Then an answer begins with its version; a line break and
    the text follow unless the caller has it. None: without a version.
    """

    kind: str
    now: int
    allowance: QueryAllowance
    body: bytes = b""
    given: Mapping[str, Any] = field(default_factory=dict)
    parsed: BaseModel | None = None
    seconds: int = 0
    is_long: bool = False
    others_wait: bool = False
    asked_at: float = field(default_factory=time.monotonic)
    known: frozenset[str] | None = None


class Answers(Protocol):
    """Answers questions from the ledger, in whatever thread or process it is called."""

    def answer(self, question: Question) -> bytes:
        """The answer as JSON. Raises Refusal."""


class Answerer(Protocol):
    """Answers the questions of one kind of caller."""

    def turn(self, who: str, long: bool = False) -> AbstractAsyncContextManager[None]:
        """The caller's turn; `long` for reports that take minutes. Raises Refusal 503 if it does not come in time."""

    async def run(self, work: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> _T:
        """Call a short function, such as one that parses a body, in a thread of this kind of caller."""

    async def answer(self, question: Question, long: bool = False) -> bytes:
        """The answer as JSON. Raises Refusal."""


class Turns:
    """A queue of callers.

    At most `size` have a turn at once, at most `each` of these are one caller's, and at most `waiting` requests wait,
    each at most `seconds`.
    """

    def __init__(self, name: str, size: int, each: int, waiting: int, seconds: float | None = None) -> None:
        self._name, self._size, self._each, self._most_waiting = name, size, each, waiting
        self._wait_seconds = seconds
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._paused: asyncio.Event | None = None

    @property
    def has_waiting(self) -> bool:
        """Whether a request waits for its turn."""
        return bool(self._waiting)

    @asynccontextmanager
    async def paused(self, seconds: float) -> AsyncIterator[None]:
        """Begin no turn until the block ends. It begins when all turns have ended, at the latest after `seconds`."""
        self._paused = asyncio.Event()
        try:
            if self._running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._paused.wait()
            yield
        finally:
            self._paused = None
            self._begin_waiting()

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """The caller's turn. The next turn goes to the request that has waited longest and may run.

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
            else:  # the turn came at the same moment
                self._end(who)
            if isinstance(error, TimeoutError):
                raise self._busy(f"this one waited {seconds:.0f} s for its turn") from None
            raise

    def _may_run(self, who: str) -> bool:
        return self._paused is None and self._running.total() < self._size and self._running[who] < self._each

    def _end(self, who: str) -> None:
        self._running[who] -= 1
        if not self._running[who]:
            del self._running[who]
        if self._paused is not None and not self._running:
            self._paused.set()
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        for place in list(self._waiting):
            next_who, turn = place
            if not turn.done() and self._may_run(next_who):  # done: its time is up, and its task has not run yet
                self._waiting.remove(place)
                self._running[next_who] += 1
                turn.set_result(None)

    def _busy(self, why: str) -> Refusal:
        return Refusal(503, "busy", f"{self._name} are busy, {why}: try again later", _COME_AGAIN_SECONDS)


class WorkerPool:
    """Threads and connections for one kind of work. `each` is how many of one caller's requests run at once.

    A caller is refused when its work takes longer than `seconds` (None: no limit). Python cannot end a thread, so the
    thread stays busy until its work ends. PostgreSQL ends its statement a few seconds after the limit.
    """

    def __init__(
        self,
        name: str,
        queries: BudgetUseQueries,
        threads: int,
        each: int,
        waiting: int,
        seconds: float | None = _ANSWER_SECONDS,
        advice: str = "ask about a shorter time, or in parts",
    ) -> None:
        """`advice` is what a caller can do whose work takes too long."""
        self.queries = queries
        self._name, self._advice = name, advice
        self._turns = Turns(name, threads, each, waiting)
        self._seconds = seconds
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    @asynccontextmanager
    async def turn(self, who: str, long: bool = False) -> AsyncIterator[None]:
        """The caller's turn, see `Turns`."""
        async with self._turns.turn(who):
            yield

    async def run(self, work: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> _T:
        """Call `work` in one of the threads.

        Raises:
            Refusal: 503 if no thread is free, or if the work has not ended, within the pool's limit.
        """
        return await run_within(self._executor, self._seconds, self._too_long, lambda: work(*args, **options))

    async def ask(
        self, work: Callable[Concatenate[BudgetUseQueries, _P], _T], *args: _P.args, **options: _P.kwargs
    ) -> _T:
        """Call `work` in one of the threads, with the queries of this pool's connections.

        Raises:
            Refusal: as `run`; also 503 if the ledger fails.
        """
        return await self.run(self._refuse_ledger_errors, lambda: work(self.queries, *args, **options))

    def close(self) -> None:
        """End the threads, after the work that they do."""
        self._executor.shutdown()

    def _too_long(self, has_begun: bool) -> Refusal:
        if not has_begun:
            reason = f"{self._name} are busy, no thread was free within {self._seconds:g} s: try again later"
            return Refusal(503, "busy", reason, _COME_AGAIN_SECONDS)
        reason = f"this takes longer than {self._seconds:g} s, which is the limit of {self._name}: {self._advice}"
        return Refusal(503, "time", reason, _COME_AGAIN_SECONDS)

    def _refuse_ledger_errors(self, work: Callable[[], _T]) -> _T:
        try:
            with ledger_errors(self.queries.book.engine):
                return work()
        except LedgerError as error:
            raise ledger_away(error) from None


class OperatorPool(WorkerPool):
    """The threads that answer questions inside the server's process: those of the operator, and projections."""

    def __init__(self, name: str, queries: BudgetUseQueries, answers: Answers, threads: int, waiting: int) -> None:
        super().__init__(name, queries, threads, threads, waiting)
        self._answers = answers

    async def answer(self, question: Question, long: bool = False) -> bytes:
        """The answer as JSON. Raises Refusal."""
        return await self.ask(lambda _: self._answers.answer(question))


async def run_within(
    executor: ThreadPoolExecutor, seconds: float | None, too_long: Callable[[bool], Refusal], work: Callable[[], _T]
) -> _T:
    """Call `work` in a thread of `executor`, and wait for it for at most `seconds` (None: without a limit).

    `too_long` makes the Refusal that is raised at the limit; its argument is whether the work had begun.
    """
    has_begun = False

    def call() -> _T:
        nonlocal has_begun
        has_begun = True
        return work()

    try:
        async with asyncio.timeout(seconds) as limit:
            return await asyncio.get_running_loop().run_in_executor(executor, call)
    except TimeoutError:
        if not limit.expired():  # the work's own error
            raise
        raise too_long(has_begun) from None


@dataclass(frozen=True, slots=True)
class QueryWorkers:
    """What one kind of caller uses: the pool that answers, its share of memory, and what a request may ask for."""

    pool: Answerer
    share: RequestShare
    allowance: QueryAllowance


class WorkerPools:
    """All worker pools, on one ledger. `max_body_bytes` limits a node report, and a question of the operator."""

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
            "metrics", queries.on(self._open(url, 1, _PROBE_SECONDS)), 1, each=1, waiting=16, seconds=_PROBE_SECONDS,
            advice="try again later",
        )  # fmt: skip
        # Readiness checks have a thread of their own: one that hangs must not delay the metrics.
        # It has no limit: how long it has been running is how long the ledger has not answered.
        self.ledger_checks = WorkerPool(
            "checks of the ledger", queries.on(self._open(url, 1)), 1, each=1, waiting=1, seconds=None
        )
        self.closing = WorkerPool(
            "closures of reports", queries.on(self._open(url, 1, _ANSWER_SECONDS)), threads=1, each=1, waiting=8,
            advice="it may still be stored, so send it again: that changes nothing then",
        )  # fmt: skip
        self.tokens = WorkerPool(
            "read tokens", queries.on(self._open(url, 1, _PROBE_SECONDS)), threads=1, each=1, waiting=64,
            seconds=_PROBE_SECONDS, advice="try again later",
        )  # fmt: skip
        self.spans = WorkerPool(
            "spans of pods", queries.on(self._open(url, 1, _PROBE_SECONDS)), threads=1, each=1, waiting=64,
            seconds=_PROBE_SECONDS, advice="it may still be stored, so send it again: that changes nothing then",
        )  # fmt: skip
        # One table of projections serves all callers. Each worker process would have one of its own, made of other
        # hours, so that the same question had another answer.
        own = queries.on(self._open(url, 2, _ANSWER_SECONDS))  # one thread that reads by two connections
        self.projections = OperatorPool("projections", own, answers(own, settings), threads=1, waiting=64)
        asked = queries.on(self._open(url, 2, _ANSWER_SECONDS))
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
        for pool in (
            self.probes,
            self.ledger_checks,
            self.closing,
            self.tokens,
            self.spans,
            self.projections,
            self.operator,
        ):
            pool.close()
        for engine in self._engines:
            engine.dispose()

    def _open(self, url: str, connections: int, seconds: float | None = None) -> sa.Engine:
        """`seconds` is the limit of the work; without one its statements have none either."""
        engine = open_ledger(url, connections)
        if seconds is not None:
            bound_statements(engine, seconds + STATEMENT_MARGIN_SECONDS)
        self._engines.append(engine)
        return engine
