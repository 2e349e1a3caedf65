"""Which adjustments a budget proposes: what closes its periods, in order, and overspend while it happens.

No I/O, no clock. A period is followed if the ledger has a row that closed the one before into it. So a budget is closed
period by period from the first one on in which it asks for that; a controller that was away goes on where it ended.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from carbonbudget_operator.api.adjustment_bodies import Adjustment, AdjustmentGroup, AnsweredAdjustment, BudgetPeriod
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.adjustments import (
    CARRY_OVER,
    AppliedChange,
    ClosingTerms,
    PeriodOutcome,
    carry_over,
    counts_row,
    is_closed_into,
    moved_deductions,
    nothing_carried,
    overspend,
)
from carbonbudget_operator.budgets.period import Period, period_at
from carbonbudget_operator.budgets.quantity import parse_mass
from carbonbudget_operator.budgets.use_evaluation import UseEvaluation
from carbonbudget_operator.controller.period_history import (
    MOST_PERIODS,
    facts_lost,
    final_use,
    former_limit,
    held_use,
    revised_use,
)
from carbonbudget_operator.controller.prepared_budget import PreparedBudget

# After a period's end: by then its last windows have arrived.
CLOSES_AFTER_S: Final = 900
# So long a period waits for the reports of nodes that were there at its end, and for the intensities of its last hours.
WAITS_FOR_S: Final = 86_400
Booked = Callable[[Period], Sequence[AnsweredAdjustment]]


def closing_terms(prepared: PreparedBudget) -> ClosingTerms | None:
    """What the budget asks for at its periods' ends; None for nothing."""
    spec = prepared.spec
    if prepared.calendar is None or spec.per == "Workload":
        return None
    if spec.carry_over is None and spec.overspend != "Deduct":
        return None
    carried = spec.carry_over
    return ClosingTerms(
        carried.max if carried is not None else 0,
        carried.periods if carried is not None else 1,
        spec.overspend == "Deduct",
    )


def asked_periods(prepared: PreparedBudget, booked: Booked) -> list[BudgetPeriod]:
    """The periods whose adjustments have to be known: the present one, and what closing and deductions need."""
    current = prepared.budget_limit.period
    if prepared.budget_limit.per_workload:
        return []
    asked = [current]
    if (left := left_period(prepared)) is not None:
        asked.append(left)
    if closing_terms(prepared) is not None:
        asked.append(_next(prepared, current))
        if not is_closed_into(booked(current)):
            for period in _before(prepared, current):
                asked.append(period)
                if is_closed_into(booked(period)):  # those before it are closed too
                    break
    return [_named(prepared, period) for period in asked]


def left_period(prepared: PreparedBudget) -> Period | None:
    """The period that was evaluated last, where an edit of the calendar ended it; None in all other cases."""
    shown, current = prepared.budget_object.status.period, prepared.budget_limit.period
    if shown is None or prepared.budget_limit.per_workload:
        return None
    left = Period(seconds(shown.start), seconds(shown.end))
    overlaps = left.start < current.end and current.start < left.end
    return left if overlaps and left != current else None


def moved_groups(prepared: PreparedBudget, booked: Booked) -> list[AdjustmentGroup]:
    """What the present period takes over from `left_period`."""
    left, current = left_period(prepared), prepared.budget_limit.period
    if left is None:
        return []
    return [
        _group(prepared, current, [change]) for change in moved_deductions(left, booked(left), current, booked(current))
    ]


def period_to_close(prepared: PreparedBudget, booked: Booked) -> tuple[Period, Period] | None:
    """The oldest period that is over and not closed, and the one after it; None if there is nothing to close."""
    current = prepared.budget_limit.period
    if closing_terms(prepared) is None or is_closed_into(booked(current)):
        return None
    after = current
    for period in _before(prepared, current):
        if is_closed_into(booked(period)):
            return period, after
        after = period
    return _before(prepared, current)[0], current


def is_followed(prepared: PreparedBudget, period: Period, booked: Booked) -> bool:
    """Whether what is left of a period can be known: it was followed, and this object was evaluated in it."""
    status = prepared.budget_object.status
    spans = [(one.start, one.end) for one in status.history or ()]
    if status.period is not None:
        spans.append((status.period.start, status.period.end))
    shown = {Period(seconds(start), seconds(end)) for start, end in spans}
    return is_closed_into(booked(period)) and period in shown


def is_complete(period: Period, answer: BudgetAnswer, data_through: int, figures_through: int | None, now: int) -> bool:
    """Whether the figures of a period that is over are what it is closed with: all are there, or it waited for long.

    `data_through`, `figures_through`: as BudgetAnswers has them.
    """
    if data_through < period.end:
        return False
    awaits_figures = figures_through is not None and figures_through < period.end
    return now >= period.end + WAITS_FOR_S or not (answer.nodes_behind or awaits_figures)


def closing_group(
    prepared: PreparedBudget, period: Period, after: Period, answer: BudgetAnswer | None, booked: Booked
) -> AdjustmentGroup:
    """All that closes a period into the one after it. `answer` is the period's use; None if it was not followed.

    Raises:
        QuantityError: a limit in the status is no mass.
    """
    terms = closing_terms(prepared) or ClosingTerms()
    if answer is None:
        return _group(prepared, after, [nothing_carried(period.start)])
    used_ug, held_ug, lost = final_use(prepared, answer), held_use(prepared, period), facts_lost(prepared, period)
    outcome = PeriodOutcome(
        period.start,
        parse_mass(former_limit(prepared, period)),
        max(used_ug, held_ug),
        booked(period),
        prepared.budget_limit.counted_hash,
        lost,
        answer.nodes_behind,
    )
    next_limit_ug = prepared.base_limit_ug
    if after != prepared.budget_limit.period:
        next_limit_ug = parse_mass(former_limit(prepared, after))
    changes = carry_over(terms, outcome, next_limit_ug, answer.coverage_percent)
    # What is held may be of provisional figures: it leaves less to carry over, but nobody owes an estimate.
    owed_ug = outcome.used_ug if lost else used_ug
    unrevised = replace(outcome, used_ug=max(0, owed_ug - revised_use(prepared, period)))
    deducted = overspend(unrevised, booked(after), final=True) if terms.deducts else None
    return _group(prepared, after, [*changes, *([deducted] if deducted is not None else [])])


def counting_group(prepared: PreparedBudget, booked: Booked) -> AdjustmentGroup | None:
    """The row that says what is counted in the present period; None if it is booked, or nothing asks for it."""
    terms, period = closing_terms(prepared), prepared.budget_limit.period
    if terms is None:
        return None
    row = counts_row(period, prepared.budget_limit.counted_hash, bool(terms.carry_percent))
    if any(one.source == row.source for one in booked(period)):
        return None
    return _group(prepared, period, [row])


def overspend_group(
    prepared: PreparedBudget, made: UseEvaluation, booked: Booked, final: bool = False
) -> AdjustmentGroup | None:
    """The overspend of the running period that is to be deducted from the next one now; None for nothing.

    It goes by the hours that are over and have figures of their own, without what revised factors added: a deduction
    stays, and a figure that stands in may be too high.
    """
    terms, settled = closing_terms(prepared), made.record.settled
    if terms is None or not terms.deducts or settled is None or made.lost:
        return None
    period = prepared.budget_limit.period
    used_ug = max(0, settled.own_ug - max(0, made.record.verdict.revised_ug))
    outcome = PeriodOutcome(period.start, prepared.base_limit_ug, used_ug, booked(period))
    after = _next(prepared, period)
    already = booked(after)
    change = overspend(outcome, already, final)
    if change is None or change.micrograms > 0:  # only closing a period gives back
        return None
    return _group(prepared, after, [change])


def _group(prepared: PreparedBudget, period: Period, changes: Sequence[AppliedChange]) -> AdjustmentGroup:
    named = _named(prepared, period)
    return AdjustmentGroup(
        adjustments=[
            Adjustment(
                budget=named,
                reason="CarryOver" if change.reason == CARRY_OVER else "Overspend",
                source=change.source,
                micrograms=change.micrograms,
                detail=change.detail or _detail(prepared, change.source),
            )
            for change in changes
        ]
    )


def _detail(prepared: PreparedBudget, source: str) -> str:
    """ "period from 2026-11-01", by the date in the budget's time zone: the same for all rows of one origin."""
    start = int(source.partition("@")[2].partition("#")[0].partition("+")[0].partition("-")[0])
    return f"period from {dt.datetime.fromtimestamp(start, prepared.zone):%Y-%m-%d}"


def _named(prepared: PreparedBudget, period: Period) -> BudgetPeriod:
    stored = prepared.stored
    return BudgetPeriod(namespace=stored.namespace, name=stored.name, period_start=period.start, period_end=period.end)


def _next(prepared: PreparedBudget, period: Period) -> Period:
    assert prepared.calendar is not None
    return period_at(prepared.calendar, prepared.zone, period.end)


def _before(prepared: PreparedBudget, current: Period) -> list[Period]:
    """The last twelve periods, newest first."""
    assert prepared.calendar is not None
    found = [period_at(prepared.calendar, prepared.zone, current.start - 1)]
    while len(found) < MOST_PERIODS:
        found.append(period_at(prepared.calendar, prepared.zone, found[-1].start - 1))
    return found
