"""From one evaluation to the next: nothing loosens by itself, revisions do not act, lost facts are noticed."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.settled_use import SettledUse, settled_hour_end
from carbonbudget_operator.budgets.use_evaluation import (
    MISSING_AFTER_S,
    EvaluationRecord,
    ReportedUse,
    UseEvaluation,
    evaluate_use,
    evaluate_without_use,
)
from carbonbudget_operator.budgets.verdict import Action, BudgetLimit, EnforcementTerms, State, Threshold

HOUR = 3600
THRESHOLDS = (Threshold(80, Action.WARN), Threshold(100, Action.BLOCK), Threshold(150, Action.SUSPEND))
BUDGET = BudgetLimit(1000, Period(0, 100 * HOUR), THRESHOLDS, generation=1, counted_hash="a")
OTHER_PODS = replace(BUDGET, generation=2, counted_hash="b")
TERMS = EnforcementTerms(6 * HOUR)


@dataclass(frozen=True)
class Ledger:
    """What a ledger holds of a budget: energy of hours that are over and of the open one, and what they are worth."""

    settled_uj: int = 0
    open_uj: int = 0
    settled_ug_per_uj: int = 1

    def answer(self, now: int) -> ReportedUse:
        settled_ug = self.settled_uj * self.settled_ug_per_uj
        return ReportedUse(
            used_ug=settled_ug + self.open_uj,
            most_ug=(settled_ug + self.open_uj) // 2,
            data_from=0,
            data_through=now,
            settled_ug=settled_ug,
            settled_energy_uj=self.settled_uj,
            settled=SettledUse(HOUR, settled_ug, self.settled_uj),
        )


def evaluated(
    ledger: Ledger, former: UseEvaluation | None = None, now: int = 2 * HOUR, budget: BudgetLimit = BUDGET
) -> UseEvaluation:
    return evaluate_use(budget, ledger.answer(now), None, now, TERMS, former.record if former else None)


def test_a_revision_upwards_is_shown_and_does_not_act() -> None:
    former = evaluated(Ledger(settled_uj=700))
    revised = evaluated(Ledger(settled_uj=700, settled_ug_per_uj=2), former)
    verdict = revised.record.verdict
    assert (verdict.used_ug, verdict.revised_ug, verdict.action) == (1400, 700, Action.NONE)
    more = evaluated(Ledger(settled_uj=700, settled_ug_per_uj=2, open_uj=99), revised)
    assert more.record.verdict.action is Action.NONE
    over = evaluated(Ledger(settled_uj=700, settled_ug_per_uj=2, open_uj=300), more)
    assert over.record.verdict.action is Action.BLOCK


def test_a_revision_that_is_taken_back_is_as_if_it_had_never_been() -> None:
    former = evaluated(Ledger(settled_uj=700))
    back = evaluated(Ledger(settled_uj=700), evaluated(Ledger(settled_uj=700, settled_ug_per_uj=2), former))
    assert back.record == former.record


def test_a_revision_downwards_lets_go() -> None:
    blocked = evaluated(Ledger(settled_uj=500, settled_ug_per_uj=2))
    assert blocked.record.verdict.action is Action.BLOCK
    revised = evaluated(Ledger(settled_uj=500), blocked)
    assert (revised.record.verdict.used_ug, revised.record.verdict.action) == (500, Action.NONE)
    assert not revised.lost


def test_late_reports_count() -> None:
    late = evaluated(Ledger(settled_uj=1000), evaluated(Ledger(settled_uj=700)))
    assert (late.record.verdict.used_ug, late.record.verdict.revised_ug) == (1000, 0)
    assert late.record.verdict.action is Action.BLOCK


def test_a_ledger_that_lost_facts_keeps_the_verdict_and_says_so_until_they_are_back() -> None:
    former = evaluated(Ledger(settled_uj=1000))
    lost = evaluated(Ledger(settled_uj=0), former)
    assert lost.lost
    assert lost.record.verdict == former.record.verdict
    assert lost.forecast_ug is None
    still = evaluated(Ledger(settled_uj=10), lost, now=4 * HOUR)
    assert still.lost
    restored = evaluated(Ledger(settled_uj=1000, open_uj=5), still, now=5 * HOUR)
    assert not restored.lost
    assert restored.record.verdict.used_ug == 1005


def test_the_open_hour_may_be_shared_out_anew_without_an_alarm() -> None:
    former = evaluated(Ledger(settled_uj=500, open_uj=100))
    after = evaluated(Ledger(settled_uj=500, open_uj=60), former)
    assert not after.lost
    assert after.record.verdict.used_ug == 600


def test_a_budget_that_counts_other_pods_takes_the_revised_figures_as_they_are() -> None:
    revised = evaluated(Ledger(settled_uj=700, settled_ug_per_uj=2), evaluated(Ledger(settled_uj=700)))
    edited = evaluated(Ledger(settled_uj=700, settled_ug_per_uj=2), revised, budget=OTHER_PODS)
    assert (edited.record.verdict.revised_ug, edited.record.verdict.action) == (0, Action.BLOCK)


def test_an_edit_that_counts_the_same_keeps_revisions_aside_and_still_notices_lost_facts() -> None:
    edited = replace(BUDGET, generation=2, limit_ug=1100)
    revised = evaluated(Ledger(settled_uj=700, settled_ug_per_uj=2), evaluated(Ledger(settled_uj=700)))
    after = evaluated(Ledger(settled_uj=700, settled_ug_per_uj=2), revised, budget=edited)
    assert (after.record.verdict.revised_ug, after.record.verdict.action) == (700, Action.NONE)
    assert evaluated(Ledger(settled_uj=10), after, budget=replace(edited, generation=3)).lost


def test_when_it_was_exhausted_outlasts_an_edit_that_counts_the_same() -> None:
    over = evaluated(Ledger(settled_uj=1000))
    later = evaluated(Ledger(settled_uj=1000), over, now=9 * HOUR, budget=replace(BUDGET, generation=2))
    assert later.record.exhausted_at == 2 * HOUR


def test_a_budget_per_workload_is_evaluated_by_the_one_that_used_most() -> None:
    each = replace(BUDGET, per_workload=True)
    first = evaluated(Ledger(settled_uj=1400), budget=each)
    assert (first.record.verdict.used_ug, first.record.verdict.action) == (700, Action.NONE)
    assert first.forecast_ug is None
    revised = evaluated(Ledger(settled_uj=1400, settled_ug_per_uj=2), first, budget=each)
    assert (revised.record.verdict.used_ug, revised.record.verdict.revised_ug) == (1400, 700)


def test_when_it_was_exhausted_stays_as_it_was() -> None:
    over = evaluated(Ledger(settled_uj=1000), now=2 * HOUR)
    later = evaluated(Ledger(settled_uj=1100), over, now=9 * HOUR)
    assert over.record.exhausted_at == later.record.exhausted_at == 2 * HOUR


def test_a_raised_limit_is_not_exhausted_also_where_there_is_no_forecast() -> None:
    each = replace(BUDGET, per_workload=True)
    over = evaluated(Ledger(settled_uj=2000), budget=each)
    assert (over.record.verdict.state, over.record.exhausted_at) == (State.EXCEEDED, 2 * HOUR)
    raised = evaluated(Ledger(settled_uj=2000), over, 3 * HOUR, replace(each, limit_ug=5000, generation=2))
    assert raised.forecast_ug is None
    assert (raised.record.verdict.state, raised.record.exhausted_at) == (State.WITHIN, 0)


def test_hours_are_settled_when_they_are_over_and_everybody_has_reported() -> None:
    period = Period(HOUR // 2, 10 * HOUR)
    assert settled_hour_end(period, HOUR - 1) == 0
    assert settled_hour_end(period, HOUR) == HOUR
    assert settled_hour_end(period, 3 * HOUR + 59) == 3 * HOUR
    assert settled_hour_end(period, 99 * HOUR) == 10 * HOUR


# --- no data ---------------------------------------------------------------------------------------------------------

OVER = evaluated(Ledger(settled_uj=1000)).record
CAREFUL = replace(BUDGET, unknown_without_data=True)


def test_without_an_answer_the_last_verdict_stands_and_its_block_is_renewed() -> None:
    record = evaluate_without_use(BUDGET, 2 * HOUR, 7 * HOUR, TERMS, OVER)
    assert record is not None
    assert (record.verdict.state, record.verdict.acts_until) == (State.EXCEEDED, 13 * HOUR)


def test_a_limit_that_is_raised_while_there_is_no_answer_lets_go() -> None:
    raised = replace(BUDGET, limit_ug=5000, generation=2)
    record = evaluate_without_use(raised, 2 * HOUR, 3 * HOUR, TERMS, OVER)
    assert record is not None
    assert (record.verdict.state, record.verdict.acts_until) == (State.WITHIN, 0)


@pytest.mark.parametrize("unknown", [False, True])
def test_a_budget_that_counts_other_pods_since_there_was_no_answer_starts_again_with_the_next(unknown: bool) -> None:
    """Fewer pods may count since: their smaller use is no loss, and the old one binds nothing."""
    edited = replace(OTHER_PODS, unknown_without_data=unknown)
    away = evaluate_without_use(edited, 2 * HOUR, 3 * HOUR, TERMS, OVER)
    assert away is not None
    # The figures are still those of what was counted before.
    assert (away.verdict.generation, away.verdict.counted_hash) == (BUDGET.generation, BUDGET.counted_hash)
    still = evaluate_without_use(edited, 2 * HOUR, 4 * HOUR, TERMS, away)
    back = evaluate_use(edited, Ledger(settled_uj=10).answer(5 * HOUR), None, 5 * HOUR, TERMS, still)
    assert not back.lost
    verdict = back.record.verdict
    assert (verdict.used_ug, verdict.state, verdict.generation) == (10, State.WITHIN, 2)


def test_a_limit_that_is_lowered_while_there_is_no_answer_keeps_the_use_of_before() -> None:
    edited = replace(BUDGET, generation=2, limit_ug=500)
    away = evaluate_without_use(edited, 2 * HOUR, 3 * HOUR, TERMS, OVER)
    back = evaluate_use(edited, Ledger(open_uj=900).answer(5 * HOUR), None, 5 * HOUR, TERMS, away)
    assert back.record.verdict.used_ug == 1000


@pytest.mark.parametrize("known", [None, OVER])
def test_of_a_period_without_any_answer_nothing_is_known(known: EvaluationRecord | None) -> None:
    renewed = replace(BUDGET, period=Period(100 * HOUR, 200 * HOUR))
    assert evaluate_without_use(renewed, 0, 101 * HOUR, TERMS, known) is None


def test_where_it_is_asked_for_missing_data_drop_the_verdict_but_a_restart_does_not() -> None:
    short = evaluate_without_use(CAREFUL, 2 * HOUR, 2 * HOUR + MISSING_AFTER_S, TERMS, OVER)
    assert short is not None
    assert short.verdict.state is State.EXCEEDED
    long = evaluate_without_use(CAREFUL, 2 * HOUR, 2 * HOUR + MISSING_AFTER_S + 1, TERMS, OVER)
    assert long is not None
    assert (long.verdict.state, long.verdict.action, long.verdict.acts_until) == (State.UNKNOWN, Action.NONE, 0)
    assert long.verdict.used_ug == 1000
    back = evaluate_use(CAREFUL, Ledger(settled_uj=1000).answer(4 * HOUR), None, 4 * HOUR, TERMS, long)
    assert back.record.verdict.action is Action.BLOCK


def test_an_answer_of_old_data_is_missing_data_too() -> None:
    reading = replace(Ledger(settled_uj=1000).answer(2 * HOUR), data_through=HOUR)
    stale = evaluate_use(CAREFUL, reading, None, 2 * HOUR, TERMS, OVER)
    assert (stale.missing, stale.record.verdict.state) == (True, State.UNKNOWN)
    assert evaluate_use(BUDGET, reading, None, 2 * HOUR, TERMS, OVER).record.verdict.state is State.EXCEEDED


# --- laws ------------------------------------------------------------------------------------------------------------

ledgers = st.builds(Ledger, st.integers(0, 2000), st.integers(0, 500), st.just(1))


@given(st.lists(ledgers, min_size=1, max_size=20), st.integers(0, 40))
def test_within_a_period_no_verdict_loosens_whatever_the_ledger_says(history: list[Ledger], step: int) -> None:
    """Figures of one valuation: without a revision neither use nor action ever goes back."""
    former = None
    for index, ledger in enumerate(history):
        # The energy grows with the grams, so that no difference is taken for a revision.
        made = evaluated(ledger, former, now=HOUR + index * step)
        if former is not None:
            assert made.record.verdict.used_ug >= former.record.verdict.used_ug
            assert made.record.verdict.action >= former.record.verdict.action
        former = made


@given(st.integers(0, 2000), st.lists(st.integers(0, 5), max_size=10))
def test_revisions_alone_never_tighten_a_verdict(energy_uj: int, factors: list[int]) -> None:
    first = former = evaluated(Ledger(settled_uj=energy_uj))
    for factor in factors:
        former = evaluated(Ledger(settled_uj=energy_uj, settled_ug_per_uj=factor), former)
        assert former.record.verdict.action <= first.record.verdict.action
        assert former.record.verdict.use.unrevised_ug <= first.record.verdict.use.unrevised_ug


@given(st.lists(ledgers, min_size=1, max_size=10), st.integers(1, 9))
def test_what_a_status_carries_is_enough_to_go_on_from(history: list[Ledger], step: int) -> None:
    """An evaluation that is repeated at once, as after a restart, changes nothing."""
    former = None
    for index, ledger in enumerate(history):
        now = HOUR + index * step
        former = evaluated(ledger, former, now)
        assert evaluated(ledger, former, now).record == former.record
