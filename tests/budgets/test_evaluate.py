"""Verdicts: level-based, never loosening within a period, never blocking beyond it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.evaluate import DEFAULT_THRESHOLDS, Action, Budget, State, Threshold, evaluate
from carbonbudget_operator.budgets.period import Period

BLOCKING = (Threshold(80, Action.WARN), Threshold(100, Action.BLOCK))
HOUR = 3600


def a_budget(limit_ug: int = 1000, thresholds: tuple[Threshold, ...] = BLOCKING, end: int = 100 * HOUR) -> Budget:
    return Budget(limit_ug, Period(0, end), thresholds, generation=1)


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
    verdict = evaluate(a_budget(), used_ug, HOUR, 6 * HOUR, None)
    assert (verdict.state, verdict.action) == (state, action)
    assert (verdict.block_until > 0) == (action is Action.BLOCK)


def test_without_thresholds_a_budget_only_warns() -> None:
    verdict = evaluate(a_budget(thresholds=DEFAULT_THRESHOLDS), 5000, HOUR, 6 * HOUR, None)
    assert (verdict.state, verdict.action, verdict.block_until) == (State.EXCEEDED, Action.WARN, 0)


@pytest.mark.parametrize(("used_ug", "state", "percent"), [(0, State.WITHIN, 0), (1, State.EXCEEDED, 100)])
def test_a_limit_of_nothing_is_exceeded_by_anything(used_ug: int, state: State, percent: int) -> None:
    verdict = evaluate(a_budget(limit_ug=0), used_ug, HOUR, 6 * HOUR, None)
    assert (verdict.state, verdict.percent(0)) == (state, percent)


def test_a_block_is_renewed_at_half_of_its_time_and_not_before() -> None:
    first = evaluate(a_budget(), 1000, 0, 6 * HOUR, None)
    assert first.block_until == 6 * HOUR
    assert evaluate(a_budget(), 1000, 3 * HOUR - 1, 6 * HOUR, first).block_until == 6 * HOUR
    assert evaluate(a_budget(), 1000, 3 * HOUR, 6 * HOUR, first).block_until == 9 * HOUR


def test_a_block_ends_with_its_period_and_needs_no_renewal_then() -> None:
    first = evaluate(a_budget(end=4 * HOUR), 1000, 0, 6 * HOUR, None)
    assert first.block_until == 4 * HOUR
    assert evaluate(a_budget(end=4 * HOUR), 1000, 4 * HOUR - 1, 6 * HOUR, first).block_until == 4 * HOUR


@pytest.mark.parametrize("now", [-1, 100 * HOUR])
def test_outside_its_period_a_budget_blocks_nothing(now: int) -> None:
    assert evaluate(a_budget(), 5000, now, 6 * HOUR, None).block_until == 0


def test_a_use_that_falls_keeps_the_former_verdict() -> None:
    former = evaluate(a_budget(), 1000, HOUR, 6 * HOUR, None)
    verdict = evaluate(a_budget(), 10, 2 * HOUR, 6 * HOUR, former)
    assert (verdict.used_ug, verdict.state) == (1000, State.EXCEEDED)


def test_an_edited_budget_or_a_new_period_is_judged_afresh() -> None:
    former = evaluate(a_budget(), 1000, HOUR, 6 * HOUR, None)
    edited = replace(a_budget(), generation=2)
    assert evaluate(edited, 10, 2 * HOUR, 6 * HOUR, former).state is State.WITHIN
    renewed = replace(a_budget(), period=Period(100 * HOUR, 200 * HOUR))
    assert evaluate(renewed, 10, 101 * HOUR, 6 * HOUR, former).block_until == 0


@given(
    st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**15),
    st.integers(1, 10**6), st.integers(0, 10**6), st.integers(60, 10**6),
)  # fmt: skip
def test_more_use_never_gets_a_milder_verdict_and_no_block_outlasts_its_period(
    limit_ug: int, used_ug: int, more_ug: int, end: int, now: int, fresh_for_s: int
) -> None:
    budget = a_budget(limit_ug, end=end)
    milder = evaluate(budget, used_ug, now, fresh_for_s, None)
    stricter = evaluate(budget, used_ug + more_ug, now, fresh_for_s, None)
    assert milder.action <= stricter.action
    for verdict in (milder, stricter):
        assert verdict.block_until <= min(end, now + fresh_for_s)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=20), st.integers(0, 50))
def test_a_controller_that_was_restarted_judges_as_one_that_was_not(uses_ug: list[int], step: int) -> None:
    """Carrying the verdict over a run, or taking it up in the middle from what was written, is the same."""
    verdict = None
    for index, used_ug in enumerate(uses_ug):
        written = verdict
        verdict = evaluate(a_budget(), used_ug, index * step, 6 * HOUR, verdict)
        assert evaluate(a_budget(), used_ug, index * step, 6 * HOUR, written) == verdict
        assert written is None or verdict.used_ug >= written.used_ug
