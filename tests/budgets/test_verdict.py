"""Verdicts: by their per cents, never blocking beyond the period, renewed at half-life."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.verdict import (
    DEFAULT_THRESHOLDS,
    Action,
    BudgetLimit,
    BudgetUse,
    EnforcementTerms,
    State,
    Threshold,
    Verdict,
    effective_use,
    verdict_on_use,
)

BLOCKING = (Threshold(80, Action.WARN), Threshold(100, Action.BLOCK))
SUSPENDING = (*BLOCKING, Threshold(120, Action.SUSPEND))
HOUR = 3600
TERMS = EnforcementTerms(6 * HOUR)


def a_budget(limit_ug: int = 1000, thresholds: tuple[Threshold, ...] = BLOCKING, end: int = 100 * HOUR) -> BudgetLimit:
    return BudgetLimit(limit_ug, Period(0, end), thresholds, generation=1, counted_hash="a")


def evaluated(
    budget: BudgetLimit, used_ug: int, now: int, former: Verdict | None = None, forecast_ug: int | None = None
) -> Verdict:
    return verdict_on_use(budget, effective_use(budget, used_ug, 0, former), forecast_ug, now, TERMS, former)


@pytest.mark.parametrize(
    ("used_ug", "state", "action"),
    [
        (0, State.WITHIN, Action.NONE),
        (799, State.WITHIN, Action.NONE),
        (800, State.WARNING, Action.WARN),
        (999, State.WARNING, Action.WARN),
        (1000, State.EXCEEDED, Action.BLOCK),
    ],
)
def test_a_threshold_acts_from_its_per_cent_on(used_ug: int, state: State, action: Action) -> None:
    verdict = evaluated(a_budget(), used_ug, HOUR)
    assert (verdict.state, verdict.action) == (state, action)
    assert (verdict.acts_until > 0) == (action is Action.BLOCK)


def test_without_thresholds_a_budget_only_warns() -> None:
    verdict = evaluated(a_budget(thresholds=DEFAULT_THRESHOLDS), 5000, HOUR)
    assert (verdict.state, verdict.action, verdict.acts_until) == (State.EXCEEDED, Action.WARN, 0)


@pytest.mark.parametrize(("used_ug", "state", "percent"), [(0, State.WITHIN, 0), (1, State.EXCEEDED, 100)])
def test_a_limit_of_nothing_is_exceeded_by_anything(used_ug: int, state: State, percent: int) -> None:
    verdict = evaluated(a_budget(limit_ug=0), used_ug, HOUR)
    assert (verdict.state, verdict.percent(0)) == (state, percent)


def test_a_block_is_renewed_at_half_of_its_time_and_not_before() -> None:
    first = evaluated(a_budget(), 1000, 0)
    assert first.acts_until == 6 * HOUR
    assert evaluated(a_budget(), 1000, 3 * HOUR - 1, first).acts_until == 6 * HOUR
    assert evaluated(a_budget(), 1000, 3 * HOUR, first).acts_until == 9 * HOUR


def test_a_block_ends_with_its_period_and_needs_no_renewal_then() -> None:
    first = evaluated(a_budget(end=4 * HOUR), 1000, 0)
    assert first.acts_until == 4 * HOUR
    assert evaluated(a_budget(end=4 * HOUR), 1000, 4 * HOUR - 1, first).acts_until == 4 * HOUR


@pytest.mark.parametrize("now", [-1, 100 * HOUR])
def test_outside_its_period_a_budget_blocks_nothing(now: int) -> None:
    assert evaluated(a_budget(), 5000, now).acts_until == 0


def test_a_use_that_falls_keeps_the_former_verdict() -> None:
    former = evaluated(a_budget(), 1000, HOUR)
    verdict = evaluated(a_budget(), 10, 2 * HOUR, former)
    assert (verdict.used_ug, verdict.state) == (1000, State.EXCEEDED)


def test_a_budget_that_counts_other_pods_and_a_new_period_start_from_the_newest_reading() -> None:
    former = evaluated(a_budget(), 1000, HOUR)
    edited = replace(a_budget(), generation=2, counted_hash="b")
    assert evaluated(edited, 10, 2 * HOUR, former).state is State.WITHIN
    renewed = replace(a_budget(), period=Period(100 * HOUR, 200 * HOUR))
    assert evaluated(renewed, 10, 101 * HOUR, former).acts_until == 0


def test_a_lowered_limit_keeps_a_threshold_that_was_reached() -> None:
    """A late correction lowers the reading, and an edit must not make it count."""
    budget = a_budget(limit_ug=400_000, thresholds=SUSPENDING)
    former = evaluated(budget, 332_000, HOUR)
    lowered = replace(budget, limit_ug=275_000, generation=2)
    verdict = evaluated(lowered, 323_000, 2 * HOUR, former)
    assert (verdict.used_ug, verdict.action, verdict.generation) == (332_000, Action.SUSPEND, 2)


@pytest.mark.parametrize(("generation", "used_ug"), [(1, 1000), (2, 10)])
def test_a_verdict_without_a_hash_binds_only_its_own_generation(generation: int, used_ug: int) -> None:
    """An earlier version wrote it; the verdict that follows has a hash."""
    former = replace(evaluated(a_budget(), 1000, HOUR), counted_hash="")
    verdict = evaluated(replace(a_budget(), generation=generation), 10, 2 * HOUR, former)
    assert (verdict.used_ug, verdict.counted_hash) == (used_ug, "a")


def test_suspension_blocks_too_and_its_grace_begins_once() -> None:
    budget = a_budget(thresholds=SUSPENDING)
    blocked = evaluated(budget, 1100, HOUR)
    assert (blocked.action, blocked.suspend_from) == (Action.BLOCK, 0)
    first = evaluated(budget, 1200, 2 * HOUR, blocked)
    assert (first.action, first.suspend_from) == (Action.SUSPEND, 2 * HOUR + 1800)
    assert first.acts_until > 2 * HOUR
    later = evaluated(budget, 1300, 9 * HOUR, first)
    assert later.suspend_from == first.suspend_from
    edited = evaluated(replace(budget, generation=2, grace_s=60), 1300, 10 * HOUR, later)
    assert edited.suspend_from == first.suspend_from
    # Other pods are counted: their Jobs were not announced.
    others = evaluated(replace(budget, generation=3, counted_hash="b"), 1300, 11 * HOUR, edited)
    assert others.suspend_from == 11 * HOUR + 1800


def test_a_budget_per_workload_blocks_nobody_else_and_still_suspends() -> None:
    budget = replace(a_budget(thresholds=SUSPENDING), per_workload=True)
    assert evaluated(budget, 1100, HOUR).acts_until == 0
    assert evaluated(budget, 1200, HOUR).acts_until > 0
    assert evaluated(budget, 1200, HOUR).suspend_from > 0


def test_where_budgets_do_not_act_the_action_is_told_and_not_taken() -> None:
    verdict = verdict_on_use(
        a_budget(thresholds=SUSPENDING), BudgetUse(1200), None, HOUR, EnforcementTerms(6 * HOUR, acts=False), None
    )
    assert (verdict.action, verdict.acts_until, verdict.suspend_from) == (Action.SUSPEND, 0, 0)


def test_a_forecast_over_the_limit_warns_and_acts_on_nothing() -> None:
    verdict = evaluated(a_budget(), 100, HOUR, forecast_ug=1001)
    assert (verdict.state, verdict.action, verdict.acts_until) == (State.WARNING, Action.NONE, 0)
    assert evaluated(a_budget(), 100, HOUR, forecast_ug=1000).state is State.WITHIN


def test_a_forecast_about_the_limit_does_not_flap() -> None:
    warned = evaluated(a_budget(), 100, HOUR, forecast_ug=1001)
    assert evaluated(a_budget(), 100, HOUR, warned, forecast_ug=950).state is State.WARNING
    assert evaluated(a_budget(), 100, HOUR, warned, forecast_ug=None).state is State.WARNING
    assert evaluated(a_budget(), 100, HOUR, warned, forecast_ug=949).state is State.WITHIN


@given(
    st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**15),
    st.integers(1, 10**6), st.integers(0, 10**6), st.integers(60, 10**6),
)  # fmt: skip
def test_more_use_never_gets_a_milder_verdict_and_no_block_outlasts_its_period(
    limit_ug: int, used_ug: int, more_ug: int, end: int, now: int, fresh_for_s: int
) -> None:
    budget = a_budget(limit_ug, SUSPENDING, end)
    milder = verdict_on_use(budget, BudgetUse(used_ug), None, now, EnforcementTerms(fresh_for_s), None)
    stricter = verdict_on_use(budget, BudgetUse(used_ug + more_ug), None, now, EnforcementTerms(fresh_for_s), None)
    assert milder.action <= stricter.action
    for verdict in (milder, stricter):
        assert verdict.acts_until <= min(end, now + fresh_for_s)


@given(st.lists(st.sampled_from([*SUSPENDING, Threshold(50, Action.WARN)]), min_size=1), st.integers(0, 2000))
def test_the_order_of_thresholds_does_not_matter(thresholds: list[Threshold], used_ug: int) -> None:
    one = evaluated(a_budget(thresholds=tuple(thresholds)), used_ug, HOUR)
    assert evaluated(a_budget(thresholds=tuple(reversed(thresholds))), used_ug, HOUR) == one
