"""What new work is expected to emit until a period ends, and from what that is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.expected_emissions import (
    DurationSource,
    ExpectedEmissions,
    FormerRunMean,
    NoExpectation,
    WorkloadPlan,
    expect_emissions,
)
from carbonbudget_operator.budgets.workload_demand import EmissionRates, PodDemand, no_duration

RATES = EmissionRates(core_hour_ug=10**6, gpu_hour_ug=0)
CORE = PodDemand(1000, 0)
DAY, HOUR = 86_400, 3600
KEY = "carbonbudget.dev/expected-duration"


def test_a_stated_duration_comes_before_a_deadline() -> None:
    plan = WorkloadPlan(CORE, 2, 2, stated_s=HOUR, deadline_s=10 * HOUR)
    assert expect_emissions(plan, None, RATES, DAY) == ExpectedEmissions(2 * 10**6, False, DurationSource.STATED)


def test_a_deadline_bounds_the_whole_work_and_a_pods_deadline_each_pod() -> None:
    whole, each = WorkloadPlan(CORE, 2, 6, deadline_s=HOUR), WorkloadPlan(CORE, 2, 6, pod_deadline_s=HOUR)
    assert expect_emissions(whole, None, RATES, DAY) == ExpectedEmissions(2 * 10**6, False, DurationSource.DEADLINE)
    assert expect_emissions(each, None, RATES, DAY) == ExpectedEmissions(6 * 10**6, False, DurationSource.DEADLINE)


def test_former_runs_come_before_requests_and_before_a_deadline() -> None:
    plan = WorkloadPlan(CORE, 2, 6, deadline_s=HOUR)
    assert expect_emissions(plan, FormerRunMean(500, 60), RATES, DAY) == ExpectedEmissions(
        3000, True, DurationSource.FORMER
    )


def test_a_stated_duration_scales_what_former_runs_emitted() -> None:
    expected = expect_emissions(WorkloadPlan(CORE, 2, 2, stated_s=HOUR), FormerRunMean(500, 60), None, DAY)
    assert expected == ExpectedEmissions(2 * 500 * 60, True, DurationSource.STATED)


def test_what_does_not_end_is_expected_to_run_until_the_period_ends() -> None:
    plan = WorkloadPlan(CORE, 3, 3, endless=True)
    assert expect_emissions(plan, None, RATES, 10 * HOUR) == ExpectedEmissions(30 * 10**6, False, DurationSource.REST)
    assert expect_emissions(plan, FormerRunMean(100, HOUR), RATES, 10 * HOUR) == ExpectedEmissions(
        3000, True, DurationSource.REST
    )


def test_only_what_falls_into_the_period_counts() -> None:
    assert expect_emissions(WorkloadPlan(CORE, 1, 1, stated_s=10 * HOUR), None, RATES, HOUR) == ExpectedEmissions(
        10**6, False, DurationSource.STATED
    )
    # Three waves of an hour each, of which one fits.
    assert expect_emissions(WorkloadPlan(CORE, 2, 6), FormerRunMean(500, HOUR), None, HOUR) == ExpectedEmissions(
        1000, True, DurationSource.FORMER
    )


def test_without_a_duration_or_without_rates_nothing_is_guessed() -> None:
    assert expect_emissions(WorkloadPlan(CORE, 1, 1), None, RATES, DAY) is NoExpectation.NO_DURATION
    for why in (
        NoExpectation.NO_DURATION,
        NoExpectation.NO_REQUESTS,
    ):  # a run counts once its hour is over, not when it ends
        assert "no run of that name is counted yet" in why
    assert "set the annotation carbonbudget.dev/expected-duration" in NoExpectation.NO_DURATION
    assert expect_emissions(WorkloadPlan(CORE, 1, 1, stated_s=HOUR), None, None, DAY) is NoExpectation.NO_RATES
    assert expect_emissions(WorkloadPlan(CORE, 0, 0, stated_s=HOUR), None, RATES, DAY) is NoExpectation.NO_PODS
    assert expect_emissions(WorkloadPlan(CORE, 1, 1, stated_s=HOUR), None, RATES, 0) is NoExpectation.PERIOD_OVER


small = st.integers(0, 10**6)
plans = st.builds(
    WorkloadPlan, st.builds(PodDemand, small, small), st.integers(1, 50), st.integers(50, 200),
    stated_s=small, deadline_s=small, pod_deadline_s=small, endless=st.booleans(),
)  # fmt: skip
formers = st.none() | st.builds(FormerRunMean, small, small)


@given(plans, formers, st.integers(1, 10**6))
def test_a_longer_rest_never_expects_less(plan: WorkloadPlan, former: FormerRunMean | None, rest: int) -> None:
    rates = EmissionRates(7, 11)
    sooner, later = expect_emissions(plan, former, rates, rest), expect_emissions(plan, former, rates, 2 * rest)
    if isinstance(sooner, NoExpectation) or isinstance(later, NoExpectation):
        assert sooner == later
        return
    assert 0 <= sooner.micrograms <= later.micrograms


def test_a_duration_that_nobody_can_read_is_told_with_what_stands_in_for_it() -> None:
    assert no_duration(KEY, "2 hours", "activeDeadlineSeconds is used instead") == (
        f'{KEY} "2 hours" is no duration, so activeDeadlineSeconds is used instead; write e.g. 2h30m'
    )
    assert no_duration(KEY, "2 hours") == f'{KEY} "2 hours" is no duration; write e.g. 2h30m'
    assert no_duration(KEY, "0h0m") == f'{KEY} "0h0m" is zero; write e.g. 2h30m'


@given(st.text(max_size=300))
def test_whatever_it_says_the_sentence_is_one_line_that_a_header_takes(text: str) -> None:
    sentence = no_duration(KEY, text, f"{DurationSource.FORMER} is used instead")
    assert sentence.isprintable()
    assert len(sentence) <= 256
