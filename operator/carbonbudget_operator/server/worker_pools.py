"""The server's worker pools: the threads and database connections of each kind of work, and their limits.

Node reports have the writer's thread and connections of their own. Upkeep (stored units, sealing, owners, nodes, grid)
has asyncio's default executor, which nothing else uses. Metrics, readiness checks, the operator's questions, those
about targets, projections and the closing of reports have threads each. People's questions have processes
(`server/worker_queue.py`), because threads share one interpreter lock with the node reports and cannot be ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestLimits, RequestShare
from carbonbudget_operator.ledger.ledger_engine import (
    LedgerError,
    bound_statements,
    hold_as_server,
    ledger_errors,
    open_ledger,
)
from carbonbudget_operator.server.ledger_refusal import ledger_away
from carbonbudget_operator.server.question import QueryAllowance, Question
from carbonbudget_operator.server.turns import COME_AGAIN_SECONDS, Turns
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_P = ParamSpec("_P")
_T = TypeVar("_T")
UPKEEP_THREADS: Final = 4
_MIB: Final = 2**20
_ANSWER_SECONDS: Final = 25.0
STATEMENT_MARGIN_SECONDS: Final = 5.0  # the database ends a statement so much later than its asker is refused
_PROBE_SECONDS: Final = 9.0  # Prometheus gives a scrape 10 s


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
            return Refusal(503, "busy", reason, COME_AGAIN_SECONDS)
        reason = f"this takes longer than {self._seconds:g} s, which is the limit of {self._name}: {self._advice}"
        return Refusal(503, "time", reason, COME_AGAIN_SECONDS)

    def _refuse_ledger_errors(self, work: Callable[[], _T]) -> _T:
        try:
            with ledger_errors(self.queries.book.engine):
                return work()
        except LedgerError as error:
            raise ledger_away(error) from None


class OperatorPool(WorkerPool):
    """Threads that answer questions inside the server's process: those of the operator, or projections."""

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
        # What targets cost depends on what pods post: budgets, whose blocks lapse without an answer, never wait for it.
        aimed = queries.on(self._open(url, 2, _ANSWER_SECONDS))
        self.targets = OperatorPool("questions about targets", aimed, answers(aimed, settings), threads=2, waiting=32)
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
            self.targets,
        ):
            pool.close()
        for engine in self._engines:
            engine.dispose()

    def _open(self, url: str, connections: int, seconds: float | None = None) -> sa.Engine:
        """`seconds` is the limit of the work; without one its statements have none either."""
        engine = open_ledger(url, connections)
        hold_as_server(engine)
        if seconds is not None:
            bound_statements(engine, seconds + STATEMENT_MARGIN_SECONDS)
        self._engines.append(engine)
        return engine
