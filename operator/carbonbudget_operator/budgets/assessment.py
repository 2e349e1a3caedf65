"""One budget at one time: what the server says of it, and how it stood, to how it stands. All of it in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from carbonbudget_operator.budgets.evaluate import (
    Action,
    BudgetLimit,
    BudgetUse,
    EnforcementTerms,
    State,
    Verdict,
    counts_the_same,
    effective_use,
    evaluate,
)
from carbonbudget_operator.budgets.forecast import Forecast, WeeklyProfile, forecast_use, steady
from carbonbudget_operator.budgets.settled_use import SettledComparison, SettledUse, compare_settled

# Data that is this old is missing. Shorter gaps are a server or a node that restarts.
MISSING_AFTER_S = 900


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """What is remembered of a budget from one evaluation to the next, in its status."""

    verdict: Verdict
    settled: SettledUse | None = None
    exhausted_at: int = 0


@dataclass(frozen=True, slots=True)
class ReportedUse:
    """What the server says of one budget.

    `used_ug` is that of all its pods. `most_ug` is that of the workload that used most, which a budget per
    workload is judged by. `settled_ug` and `settled_energy_uj` are the parts before the standing's
    `settled.through`, and `settled` is what to compare with the next time. Times are UTC seconds.
    """

    used_ug: int
    data_from: int
    data_through: int
    settled_ug: int = 0
    settled_energy_uj: int = 0
    settled: SettledUse | None = None
    most_ug: int = 0


@dataclass(frozen=True, slots=True)
class Assessment:
    """How it stands now. `lost`: facts that were there are gone, so that the former figures stand."""

    standing: EvaluationRecord
    forecast_ug: int | None
    lost: bool
    missing: bool


def assess(
    budget: BudgetLimit,
    reading: ReportedUse,
    week: WeeklyProfile | None,
    now: int,
    terms: EnforcementTerms,
    former: EvaluationRecord | None,
) -> Assessment:
    """The assessment at `now` by the server's answer."""
    verdict = former.verdict if former is not None else None
    if former is None or not counts_the_same(budget, verdict):
        comparison = None
    else:
        comparison = (
            compare_settled(former.settled, reading.settled_ug, reading.settled_energy_uj) if former.settled else None
        )
    lost = comparison is not None and comparison.lost
    use = _use(budget, reading, comparison, verdict)
    outlook = None
    # A limit for each workload has no forecast: its end is the run's end, which nobody knows. Of a ledger
    # that lost facts there is none either: since when it has data says nothing then.
    if not budget.per_workload and not lost:
        outlook = _outlook(budget, use, reading, week, now)
    settled = reading.settled
    if comparison is not None and (lost or settled is None):
        settled = comparison.settled
    missing = now - reading.data_through > MISSING_AFTER_S
    made = evaluate(budget, use, outlook.expected_ug if outlook else None, now, terms, verdict)
    if missing and budget.unknown_without_data:
        made = _unknown(made)
    at = _exhausted_at(budget, made, outlook, now, former)
    return Assessment(EvaluationRecord(made, settled, at), outlook.forecast_ug if outlook else None, lost, missing)


def assess_without_answer(
    budget: BudgetLimit, missing_since: int, now: int, terms: EnforcementTerms, former: EvaluationRecord | None
) -> EvaluationRecord | None:
    """How it stands while the server says nothing; `missing_since` is up to when there were data.

    None where nothing is known of this period. The last verdict stands and is renewed, or, where the budget
    asks for it, nothing is known any more. An edited limit is judged by the last use: whoever raises it
    while the server is down is let in. The generation and the counted hash stay those of the last answer, which
    the use is of: the edited budget may count other pods, and the next answer then starts again.
    """
    if former is None or former.verdict.period != budget.period:
        return None
    verdict = former.verdict
    if budget.unknown_without_data and now - missing_since > MISSING_AFTER_S:
        return replace(former, verdict=_unknown(verdict))
    made = evaluate(budget, verdict.use, None, now, terms, verdict)
    return replace(former, verdict=replace(made, generation=verdict.generation, counted_hash=verdict.counted_hash))


@dataclass(frozen=True, slots=True)
class _Outlook:
    """`forecast_ug` is shown; `expected_ug` and `exhausted_at` leave out what revised factors added."""

    forecast_ug: int
    expected_ug: int
    exhausted_at: int


def _outlook(
    budget: BudgetLimit, use: BudgetUse, reading: ReportedUse, week: WeeklyProfile | None, now: int
) -> _Outlook | None:
    def ahead(used_ug: int) -> Forecast | None:
        return forecast_use(budget.period, budget.limit_ug, used_ug, reading.data_from, reading.data_through, now, week)

    shown = judged = ahead(use.used_ug)
    if use.revised_ug:
        judged = ahead(use.judged_ug)
    if shown is None or judged is None:
        return None
    return _Outlook(shown.forecast_ug, judged.forecast_ug, judged.exhausted_at)


def _exhausted_at(
    budget: BudgetLimit, verdict: Verdict, outlook: _Outlook | None, now: int, former: EvaluationRecord | None
) -> int:
    told = former.exhausted_at if former is not None and former.verdict.period == budget.period else 0
    if verdict.state is State.EXCEEDED:  # it happened then, and it stays so
        return told if told and told <= now and counts_the_same(budget, former.verdict if former else None) else now
    if outlook is None:  # too early for a forecast, or each run by itself: a past time is that of a limit since raised
        return told if told > now or verdict.state is State.UNKNOWN else 0
    return steady(outlook.exhausted_at, told, now)


def _use(
    budget: BudgetLimit, reading: ReportedUse, comparison: SettledComparison | None, former: Verdict | None
) -> BudgetUse:
    revision_ug = comparison.revision_ug if comparison is not None else 0
    if not budget.per_workload:
        return effective_use(budget, reading.used_ug, revision_ug, former)
    # Revisions are told apart for all pods together; a workload has its share, upwards rounded up.
    share_ug = -(-revision_ug * reading.most_ug // max(1, reading.used_ug))
    return effective_use(budget, reading.most_ug, share_ug, former)


def _unknown(verdict: Verdict) -> Verdict:
    """Nothing is known and nothing acts; the use stays, for when there are data again."""
    return replace(verdict, state=State.UNKNOWN, action=Action.NONE, block_until=0, suspend_from=0)
