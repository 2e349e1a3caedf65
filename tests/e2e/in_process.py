"""The server's answers without HTTP, from the same packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.hourly_use import hourly_use
from carbonbudget_operator.answers.runs_by_owner import RunQueriesAnswerer
from carbonbudget_operator.answers.selected_units import SelectedUnits
from carbonbudget_operator.answers.target_figures import TargetFigures
from carbonbudget_operator.api.adjustment_bodies import AdjustmentsAnswer, AdjustmentsRequest
from carbonbudget_operator.api.budget_query_bodies import (
    BudgetAnswers,
    BudgetQuery,
    HourlyAnswers,
    RunAnswers,
    RunQuery,
)
from carbonbudget_operator.api.target_query_bodies import TargetAnswers, TargetQuery
from carbonbudget_operator.ledger.unit_store import UnitStore
from carbonbudget_operator.server.routes.adjustment_booking import book_and_answer
from carbonbudget_operator.server.target_counters import TargetCounters, digest_of
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_RESULT_DAYS = 400


class InProcess:
    """`now` is the simulated clock."""

    def __init__(self, book: ValuedReader, now: Callable[[], float]) -> None:
        self._book, self._queries, self._now = book, BudgetUseQueries(book), now
        self._targets = TargetFigures(self._queries, SelectedUnits(book.cluster, _RESULT_DAYS), digest_of)
        self._counters = TargetCounters(book.engine, book.cluster, UnitStore(book.engine, book.cluster).register)

    async def budgets(self, queries: Sequence[BudgetQuery]) -> BudgetAnswers:
        through = self._queries.data_through()
        figures = self._queries.figures_through(through)
        return BudgetAnswers(data_through=through, figures_through=figures, answers=self._queries.budgets(queries))

    async def hourly(self, queries: Sequence[BudgetQuery]) -> HourlyAnswers:
        return HourlyAnswers(answers=hourly_use(self._book, queries))

    async def runs(self, queries: Sequence[RunQuery]) -> RunAnswers:
        through, answers = RunQueriesAnswerer(self._book).answers(queries)
        return RunAnswers(data_through=through, answers=answers)

    async def targets(self, queries: Sequence[TargetQuery]) -> TargetAnswers:
        self._counters.register(queries, int(self._now()))
        return self._targets.answers(queries)

    async def adjustments(self, request: AdjustmentsRequest) -> AdjustmentsAnswer:
        return book_and_answer(self._book.engine, self._book.cluster, request, int(self._now()))
