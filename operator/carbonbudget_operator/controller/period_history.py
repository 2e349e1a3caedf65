"""The history of a budget: the last 12 periods, and which of them to ask the server for. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping

from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer
from carbonbudget_operator.api.budget_status import FormerPeriod
from carbonbudget_operator.api.times import format_time, seconds
from carbonbudget_operator.budgets.period import Period, period_at
from carbonbudget_operator.budgets.quantity import exact_mass, format_mass
from carbonbudget_operator.controller.prepared_budget import PreparedBudget
from carbonbudget_operator.controller.status_conditions import USED_FELL

MOST_PERIODS = 12
# The last windows of a period arrive after its end: its use is asked for again that long.
SETTLING_S = 3600


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
        if newest is None or not settling or now - current.start >= SETTLING_S:
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
    """The history for the status; None for none. Limits are those of the last evaluation in each period."""
    previous = list(prepared.budget_object.status.history or ())
    effective = {_period(item): item.effective_limit for item in previous}
    made = {_period(item): item.used for item in previous}
    for period, answer in answers.items():
        made[period] = format_mass(final_use(prepared, answer))
    newest = sorted(made, key=lambda period: (period.end, period.start), reverse=True)[:MOST_PERIODS]
    rows: list[dict[str, object]] = []
    for period in newest:
        in_force = effective[period] if period in effective else _effective_limit(prepared, period)
        row: dict[str, object] = {
            "start": format_time(period.start),
            "end": format_time(period.end),
            "used": made[period],
            "limit": former_limit(prepared, period),
        }
        if in_force is not None:
            row["effectiveLimit"] = in_force
        if revised_ug := revised_use(prepared, period):
            row["revisedMicrograms"] = revised_ug
        if prepared.spec.carry_over is not None:
            row |= {"heldMicrograms": held} if (held := held_use(prepared, period)) else {}
            row |= {"factsLost": True} if facts_lost(prepared, period) else {}
        rows.append(row)
    return rows or None


def former_limit(prepared: PreparedBudget, period: Period) -> str:
    """The limit at a period's end, without adjustments: that of the history, else that of the last evaluation in it.

    Where no evaluation showed it, that is the present one.
    """
    status = prepared.budget_object.status
    kept = next((item.limit for item in status.history or () if _period(item) == period), None)
    if kept is not None:
        return kept
    if _shown(prepared) == period and status.effective_limit_micrograms:  # 0 may stand for anything below
        adjusted_ug = sum(each.micrograms for each in status.adjustments or ())
        return exact_mass(status.effective_limit_micrograms - adjusted_ug)
    return exact_mass(prepared.base_limit_ug)


def revised_use(prepared: PreparedBudget, period: Period) -> int:
    """Micrograms of the period's use that revised factors added while it ran, as its last evaluation showed them."""
    status = prepared.budget_object.status
    kept = next((item.revised_micrograms for item in status.history or () if _period(item) == period), None)
    if kept is None and _shown(prepared) == period and status.settled is not None:
        kept = status.settled.revised_micrograms
    return max(0, kept or 0)


def held_use(prepared: PreparedBudget, period: Period) -> int:
    """Micrograms that the period was known to have used when it was evaluated last while it ran; 0 if not known.

    The ledger may have less since: facts may be lost, and what is left of a limit must not grow by that.
    """
    status = prepared.budget_object.status
    if _shown(prepared) == period:
        return status.used_micrograms or 0
    return next((item.held_micrograms for item in status.history or () if _period(item) == period), None) or 0


def facts_lost(prepared: PreparedBudget, period: Period) -> bool:
    """Whether its last evaluation found that the ledger had lost facts of the period."""
    status = prepared.budget_object.status
    if _shown(prepared) == period:
        return any(one.type == "DataComplete" and one.reason == USED_FELL for one in status.conditions or ())
    return any(bool(item.facts_lost) for item in status.history or () if _period(item) == period)


def _effective_limit(prepared: PreparedBudget, period: Period) -> str | None:
    """The limit with adjustments of the period that the status shows; None for another one, or without adjustments."""
    status = prepared.budget_object.status
    return status.effective_limit if _shown(prepared) == period else None


def _shown(prepared: PreparedBudget) -> Period | None:
    shown = prepared.budget_object.status.period
    return Period(seconds(shown.start), seconds(shown.end)) if shown is not None else None


def final_use(prepared: PreparedBudget, answer: BudgetAnswer) -> int:
    """Micrograms to compare with the limit: of all, or of the workload that used most."""
    if not prepared.budget_limit.per_workload:
        return answer.used_ug
    return answer.workloads[0].used_ug if answer.workloads else 0


def _period(item: FormerPeriod) -> Period:
    return Period(seconds(item.start), seconds(item.end))
