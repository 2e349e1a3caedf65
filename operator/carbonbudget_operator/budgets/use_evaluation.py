"""Evaluates one budget's use at one time: from the server's answer and the previous record to the next record.

It combines all rules of this package and does no I/O, so a test can replay any history.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from carbonbudget_operator.budgets.forecast import Forecast, WeeklyProfile, forecast_use, steady
from carbonbudget_operator.budgets.settled_use import SettledComparison, SettledUse, compare_settled
from carbonbudget_operator.budgets.verdict import (
    Action,
    BudgetLimit,
    BudgetUse,
    EnforcementTerms,
    State,
    Verdict,
    counts_the_same,
    effective_use,
    revision_share_ug,
    verdict_on_use,
)

# Data that is this old is missing. Shorter gaps are a server or a node that restarts.
MISSING_AFTER_S = 900


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """What one evaluation leaves for the next, in the budget's status. `exhausted_at`: UTC seconds, 0 for never."""

    verdict: Verdict
    settled: SettledUse | None = None
    exhausted_at: int = 0


@dataclass(frozen=True, slots=True)
class ReportedUse:
    """The server's figures of one budget. Micrograms, microjoules, UTC seconds.

    `used_ug` is the use of all its pods. `most_ug` is the use of the workload that used most, which counts for a budget
    per workload. `settled_ug` and `settled_energy_uj` are the parts before `settled.through` of the previous record;
    None where the server does not say them, and then a revision is not known as one.
    `own_figures_ug` is the part before its `own_through`; None if that is all of `settled_ug`. `settled` is the settled
    use that the next evaluation compares with.
    """

    used_ug: int
    data_from: int
    data_through: int
    settled_ug: int | None = 0
    settled_energy_uj: int | None = 0
    own_figures_ug: int | None = None
    settled: SettledUse | None = None
    most_ug: int = 0


@dataclass(frozen=True, slots=True)
class UseEvaluation:
    """The result of `evaluate_use`.

    `lost`: the ledger has lost facts, so the previous figures stay. `missing`: the data is too old.
    """

    record: EvaluationRecord
    forecast_ug: int | None
    lost: bool
    missing: bool


def evaluate_use(
    budget: BudgetLimit,
    reported: ReportedUse,
    week: WeeklyProfile | None,
    now: int,
    terms: EnforcementTerms,
    previous: EvaluationRecord | None,
) -> UseEvaluation:
    """Evaluate the use at `now` (UTC seconds) by the server's figures. `week` is None while no profile is known."""
    verdict = previous.verdict if previous is not None else None
    comparison = None
    if previous is not None and previous.settled is not None and counts_the_same(budget, verdict):
        comparison = _compared(previous.settled, reported)
    lost = comparison is not None and comparison.lost
    use = _use(budget, reported, comparison, verdict)
    shown = expected = None
    # A run's end is unknown, so a limit for each workload has no forecast. Neither has a ledger that lost facts:
    # its first report no longer says since when the budget's use is measured.
    if not budget.per_workload and not lost:
        shown = expected = _forecast(budget, use.used_ug, reported, week, now)
        if use.revised_ug:  # the status shows all use; what revised factors added causes no warning
            expected = _forecast(budget, use.unrevised_ug, reported, week, now)
    settled = reported.settled
    if comparison is not None and (lost or settled is None):
        settled = comparison.settled
    missing = now - reported.data_through > MISSING_AFTER_S
    made = verdict_on_use(budget, use, expected.forecast_ug if expected else None, now, terms, verdict)
    if missing and budget.unknown_without_data:
        made = _unknown(made)
    at = _exhausted_at(budget, made, expected, now, previous)
    return UseEvaluation(EvaluationRecord(made, settled, at), shown.forecast_ug if shown else None, lost, missing)


def evaluate_without_use(
    budget: BudgetLimit, missing_since: int, now: int, terms: EnforcementTerms, previous: EvaluationRecord | None
) -> EvaluationRecord | None:
    """The record at `now` while the server does not answer. `missing_since`: the time up to which there were data.

    None if there was no evaluation in this period. The last verdict stays in force and is renewed; with
    `unknown_without_data` it is dropped. An edited limit is compared with the last use, so a raised limit takes effect
    while the server is down. The generation and the counted hash stay those of the last answer, which the use belongs
    to: if the edited budget counts other pods, the next answer starts again.
    """
    if previous is None or previous.verdict.period != budget.period:
        return None
    verdict = previous.verdict
    if budget.unknown_without_data and now - missing_since > MISSING_AFTER_S:
        return replace(previous, verdict=_unknown(verdict))
    made = verdict_on_use(budget, verdict.use, None, now, terms, verdict)
    return replace(previous, verdict=replace(made, generation=verdict.generation, counted_hash=verdict.counted_hash))


def _compared(previous: SettledUse, reported: ReportedUse) -> SettledComparison | None:
    """The comparison with the server's figures of the same hours; None where it does not say them."""
    settled_ug, energy_uj, own_ug = reported.settled_ug, reported.settled_energy_uj, reported.own_figures_ug
    if settled_ug is None or energy_uj is None:
        return None
    return compare_settled(previous, settled_ug, energy_uj, settled_ug if own_ug is None else own_ug)


def _forecast(
    budget: BudgetLimit, used_ug: int, reported: ReportedUse, week: WeeklyProfile | None, now: int
) -> Forecast | None:
    return forecast_use(budget.period, budget.limit_ug, used_ug, reported.data_from, reported.data_through, now, week)


def _exhausted_at(
    budget: BudgetLimit, verdict: Verdict, forecast: Forecast | None, now: int, previous: EvaluationRecord | None
) -> int:
    """When the limit is used up: the previous instant while nothing newer is known, else the forecast's."""
    before = 0
    if previous is not None and previous.verdict.period == budget.period:
        before = previous.exhausted_at
    if verdict.state is State.EXCEEDED:  # an instant that has passed stays
        same = previous is not None and counts_the_same(budget, previous.verdict)
        return before if same and 0 < before <= now else now
    if forecast is None:  # a past instant then belongs to a limit that has been raised since
        return before if before > now or verdict.state is State.UNKNOWN else 0
    return steady(forecast.exhausted_at, before, now)


def _use(
    budget: BudgetLimit, reported: ReportedUse, comparison: SettledComparison | None, previous: Verdict | None
) -> BudgetUse:
    revision_ug = comparison.revision_ug if comparison is not None else 0
    first_ug = comparison.first_figures_ug if comparison is not None else 0
    if not budget.per_workload:
        return effective_use(budget, reported.used_ug, revision_ug, previous, first_ug)
    # Both are known for all pods together.
    share_ug, first_share_ug = (
        revision_share_ug(change_ug, reported.most_ug, reported.used_ug) for change_ug in (revision_ug, first_ug)
    )
    return effective_use(budget, reported.most_ug, share_ug, previous, first_share_ug)


def _unknown(verdict: Verdict) -> Verdict:
    """The verdict without state and action. The use stays, for the time when there are data again."""
    return replace(verdict, state=State.UNKNOWN, action=Action.NONE, acts_until=0, suspend_from=0)
