"""The questions about one budget for the batch to the server, and its answers from the batch. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery, BudgetWishes
from carbonbudget_operator.api.budget_status import MOST_WORKLOADS
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.settled_use import OwnFigures, SettledUse, own_figures_end, settled_hour_end
from carbonbudget_operator.budgets.use_evaluation import ReportedUse
from carbonbudget_operator.budgets.verdict import counts_the_same
from carbonbudget_operator.controller.period_history import final_use, periods_to_ask
from carbonbudget_operator.controller.prepared_budget import PreparedBudget

_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class PeriodAnswers:
    """One budget's answers: of its period, as `evaluate_use` compares it, and of previous periods."""

    use: BudgetAnswer
    reported: ReportedUse
    previous: Mapping[Period, BudgetAnswer]


def period_queries(
    prepared: PreparedBudget, data_through: int, now: int, figures_through: int | None = None
) -> list[BudgetQuery]:
    """The questions about a budget, in the order that they are sent.

    The ids are KEY for its period, KEY@settled for the same with a later settled hour, and KEY@START for a previous
    period. Its period is not asked for while no namespace is selected, or none is known.

    `data_through`: the time up to which every node had reported at the last answer. `figures_through`: the time up to
    which hours had intensities of their own then; None if that says nothing. If another hour has settled since, or has
    its own figures, the period is asked for twice: with the old hours to compare, and with the new ones to record.
    """
    queries = []
    if prepared.namespaces:
        period = prepared.budget_limit.period
        new = settled_hour_end(period, data_through)
        previous = prepared.previous
        settled = None
        if previous is not None and counts_the_same(prepared.budget_limit, previous.verdict):
            settled = previous.settled
        through = settled.through if settled is not None else new
        new = max(new, through)
        known = data_through if figures_through is None else figures_through
        new_own = own_figures_end(new, known, settled.own_through if settled is not None else 0)
        own = settled.own_through if settled is not None else new_own
        queries.append(_with_own_figures(period_query(prepared, prepared.key, period, through), own))
        if (new, new_own) > (through, own):
            later = _with_own_figures(period_query(prepared, _settled_id(prepared), period, new), new_own)
            queries.append(later.model_copy(update={"workloads": 0}))  # the first question names them
    queries += [
        period_query(prepared, f"{prepared.key}@{each.start}", each, namespaces=names)
        for each in _former_periods(prepared, now)
        if (names := prepared.former_namespaces.of(each))
    ]
    return queries


def _former_periods(prepared: PreparedBudget, now: int) -> list[Period]:
    """Periods that are over and whose use is to be known now."""
    former = periods_to_ask(prepared, now)
    if prepared.period_to_close is not None and prepared.period_to_close not in former:
        former.append(prepared.period_to_close)
    return former


def period_query(
    prepared: PreparedBudget,
    query_id: str,
    period: Period,
    settled_through: int = 0,
    namespaces: Sequence[str] | None = None,
) -> BudgetQuery:
    """The question for a budget's use in a span. `namespaces`: those of the present period if None; at least one."""
    spec = prepared.spec
    return BudgetQuery(
        id=query_id,
        namespaces=list((prepared.namespaces or ()) if namespaces is None else namespaces),
        selector=spec.selector,
        start=period.start,
        end=period.end,
        accounting=spec.accounting,
        include=spec.include,
        wishes=BudgetWishes(settled_through=settled_through),
        workloads=MOST_WORKLOADS if prepared.budget_limit.per_workload else prepared.top_workloads,
    )


def period_answers(
    prepared: PreparedBudget, queries: Sequence[BudgetQuery], answers: Mapping[str, BudgetAnswer], data_through: int
) -> PeriodAnswers:
    """A budget's answers out of the batch's, by id. Where no namespace is selected nothing was used."""
    asked = {query.id: query for query in queries}
    current, later = asked.pop(prepared.key, None), asked.pop(_settled_id(prepared), None)
    previous = {Period(query.start, query.end): answers[query.id] for query in asked.values()}
    if current is None:
        return PeriodAnswers(_nothing(prepared.key), ReportedUse(0, 0, data_through), previous)
    use = answers[current.id]
    newest = later or current
    settled = None
    answer = answers[newest.id]
    if newest.wishes.settled_through and answer.settled_ug is not None and answer.settled_energy_uj is not None:
        own = _own_figures(newest, answer)
        settled = SettledUse(newest.wishes.settled_through, answer.settled_ug, answer.settled_energy_uj, own)
    reported = ReportedUse(
        used_ug=use.used_ug,
        data_from=use.data_from,
        data_through=data_through,
        settled_ug=use.settled_ug,
        settled_energy_uj=use.settled_energy_uj,
        own_figures_ug=_own_figures_ug(prepared, current, use),
        settled=settled,
        most_ug=final_use(prepared, use),
    )
    return PeriodAnswers(use, reported, previous)


def _with_own_figures(query: BudgetQuery, own_through: int) -> BudgetQuery:
    """The question with the hour up to which figures are the hours' own; without it where these are all that settled.

    Where it would be none of them, it is the start of the period: 0 stands for all.
    """
    if own_through >= query.wishes.settled_through:
        return query
    wish = {"own_figures_through": max(own_through, _first_hour(query))}
    return query.model_copy(update={"wishes": query.wishes.model_copy(update=wish)})


def _own_figures(query: BudgetQuery, answer: BudgetAnswer) -> OwnFigures | None:
    """The settled use with figures of its own; None where that is all of it.

    Where the server did not grant it, no hour is known to have them: a first figure that comes later is then use, and
    not taken for a revision.
    """
    if not _asks_for_own_figures(query):
        return None
    if answer.own_figures_ug is None:
        return OwnFigures(_first_hour(query), 0)
    return OwnFigures(query.wishes.own_figures_through, answer.own_figures_ug)


def _own_figures_ug(prepared: PreparedBudget, query: BudgetQuery, answer: BudgetAnswer) -> int | None:
    """The same use as valued now, for the comparison; None where it is all that settled.

    Where the server did not grant it, it is as it was: what changed since is use, and not taken for a revision.
    """
    if not _asks_for_own_figures(query):
        return None
    if answer.own_figures_ug is not None:
        return answer.own_figures_ug
    settled = prepared.previous.settled if prepared.previous is not None else None
    return settled.own_ug if settled is not None else 0


def _asks_for_own_figures(query: BudgetQuery) -> bool:
    return 0 < query.wishes.own_figures_through < query.wishes.settled_through


def _first_hour(query: BudgetQuery) -> int:
    return query.start - query.start % _HOUR


def _settled_id(prepared: PreparedBudget) -> str:
    return f"{prepared.key}@settled"


def _nothing(key: str) -> BudgetAnswer:
    return BudgetAnswer(
        id=key, used_ug=0, used_g="0", energy_uj=0, energy_kwh="0", coverage_percent=100, measured_percent=100
    )
