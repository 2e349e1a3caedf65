"""The history of a budget: the last 12 periods, and which of them to ask the server for. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping

from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer
from carbonbudget_operator.api.status import FormerPeriod
from carbonbudget_operator.api.times import format_time, seconds
from carbonbudget_operator.budgets.period import Period, period_at
from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.controller.prepared_budget import PreparedBudget

MOST_PERIODS = 12
# The last windows of a period arrive after its end: its use is asked for again that long.
_SETTLING_S = 3600


def periods_to_ask(prepared: PreparedBudget, now: int) -> list[Period]:
    """Previous periods whose use is not known or may still change, newest first.

    A controller that was stopped for several periods asks for each of them.
    """
    current, status = prepared.budget_limit.period, prepared.budget_object.status
    if status.period is None:
        return []
    shown = Period(seconds(status.period.start), seconds(status.period.end))
    if shown == current:
        newest = next(iter(status.history or ()), None)
        settling = newest is not None and seconds(newest.end) == current.start
        if newest is None or not settling or now - current.start >= _SETTLING_S:
            return []
        return [Period(seconds(newest.start), seconds(newest.end))]
    if shown.end > current.start:  # its calendar was edited: there is no period between
        return []
    missed: list[Period] = []
    at = current.start
    while prepared.calendar is not None and len(missed) < MOST_PERIODS:
        previous = period_at(prepared.calendar, prepared.zone, at - 1)
        if previous.start < shown.start:
            break
        missed.append(previous)
        at = previous.start
    return missed or [shown]


def history(prepared: PreparedBudget, answers: Mapping[Period, BudgetAnswer]) -> list[dict[str, object]] | None:
    """The history for the status; None for none.

    The limit at a period's end is that of the first evaluation after it: the limit before is not stored.
    """
    previous = list(prepared.budget_object.status.history or ())
    limits = {_period(item): item.limit for item in previous}
    made = {_period(item): item.used for item in previous}
    for period, answer in answers.items():
        made[period] = format_mass(final_use(prepared, answer))
    newest = sorted(made, key=lambda period: (period.end, period.start), reverse=True)[:MOST_PERIODS]
    return [
        {
            "start": format_time(period.start),
            "end": format_time(period.end),
            "used": made[period],
            "limit": limits.get(period, prepared.spec.limit),
        }
        for period in newest
    ] or None


def final_use(prepared: PreparedBudget, answer: BudgetAnswer) -> int:
    """Micrograms to compare with the limit: of all, or of the workload that used most."""
    if not prepared.budget_limit.per_workload:
        return answer.used_ug
    return answer.workloads[0].used_ug if answer.workloads else 0


def _period(item: FormerPeriod) -> Period:
    return Period(seconds(item.start), seconds(item.end))
