"""All questions of an evaluation in one batch, and its answers by budget. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbonbudget_operator.api.query_bodies import BudgetAnswer, BudgetQuery
from carbonbudget_operator.budgets.assessment import ReportedUse
from carbonbudget_operator.budgets.evaluate import counts_the_same
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.settled_use import SettledUse, settled_through
from carbonbudget_operator.controller.history import final_use, periods_to_ask
from carbonbudget_operator.controller.prepared_budget import PreparedBudget


@dataclass(frozen=True, slots=True)
class PeriodQueries:
    """One budget's: what it used, the same with a later settled hour where there is one, its former periods."""

    use: BudgetQuery | None
    later: BudgetQuery | None
    former: Mapping[Period, BudgetQuery]

    def all(self) -> list[BudgetQuery]:
        """In the order they are asked."""
        return [query for query in (self.use, self.later, *self.former.values()) if query is not None]


@dataclass(frozen=True, slots=True)
class PeriodAnswers:
    """One budget's answers: of its period, and of former ones."""

    use: BudgetAnswer
    reading: ReportedUse
    former: Mapping[Period, BudgetAnswer]


def period_queries(case: PreparedBudget, data_through: int, now: int) -> PeriodQueries:
    """What to ask of a budget: nothing of its period where no namespace is selected, or known.

    `data_through`: up to when every node had reported at the last answer. When another hour has settled
    since, the same question is asked twice in one batch: for the old hour, to compare, and for the new one.
    """
    former = {}
    if case.namespaces_before:
        former = {p: case.query_before(f"{case.key}@{p.start}", p) for p in periods_to_ask(case, now)}
    if not case.namespaces:
        return PeriodQueries(None, None, former)
    new = settled_through(case.budget.period, data_through)
    settled = (
        case.former.settled if case.former is not None and counts_the_same(case.budget, case.former.verdict) else None
    )
    later = None
    if settled is not None and new > settled.through:  # whose use it is the first question says
        later = case.query(f"{case.key}@settled", new).model_copy(update={"workloads": 0})
    use = case.query(case.key, settled.through if settled is not None else new)
    return PeriodQueries(use, later, former)


def period_answers(
    case: PreparedBudget, asked: PeriodQueries, answers: Mapping[str, BudgetAnswer], data_through: int
) -> PeriodAnswers:
    """A budget's answers out of the batch's. Where nothing is selected nothing was used, without asking."""
    former = {period: answers[query.id] for period, query in asked.former.items()}
    if asked.use is None:
        return PeriodAnswers(_nothing(case.key), ReportedUse(0, 0, data_through), former)
    use = answers[asked.use.id]
    settled = None
    if asked.later is not None:
        settled = _settled(asked.later, answers[asked.later.id])
    elif asked.use.settled_through:
        settled = _settled(asked.use, use)
    reading = ReportedUse(
        used_ug=use.used_ug,
        data_from=use.data_from,
        data_through=data_through,
        settled_ug=use.settled_ug,
        settled_energy_uj=use.settled_energy_uj,
        settled=settled,
        most_ug=final_use(case, use),
    )
    return PeriodAnswers(use, reading, former)


def _nothing(key: str) -> BudgetAnswer:
    return BudgetAnswer(
        id=key, used_ug=0, used_g="0", energy_uj=0, energy_kwh="0", coverage_percent=100, measured_percent=100
    )


def _settled(query: BudgetQuery, answer: BudgetAnswer) -> SettledUse:
    return SettledUse(query.settled_through, answer.settled_ug, answer.settled_energy_uj)
