"""The state of a target."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.targets.figures import (
    BY,
    EFFICIENCY,
    LINEAR,
    START,
    TERMS,
    baseline,
    some_paths,
    some_sums,
    stated,
    sums,
)

from carbonbudget_operator.targets.reduction_path import ReductionPath
from carbonbudget_operator.targets.target_baseline import TargetBaseline, measured_baseline
from carbonbudget_operator.targets.target_verdict import (
    TargetState,
    TargetTerms,
    TargetVerdict,
    change_percent,
    judge_target,
)
from carbonbudget_operator.targets.unit_sums import UnitSums

HALF = (START + BY) // 2  # 10 % of 20 are expected: 90 g per 1000 units
ORDER = [TargetState.ACHIEVED, TargetState.ON_TRACK, TargetState.BEHIND, TargetState.VIOLATED]


def judged(
    window: UnitSums, of: TargetBaseline | None = None, terms: TargetTerms = TERMS, at: int = HALF, missing: str = ""
) -> TargetVerdict:
    return judge_target(terms, LINEAR, of or baseline(), window, at, missing)


@pytest.mark.parametrize(
    ("grams", "state"),
    [(80, "Achieved"), (81, "OnTrack"), (90, "OnTrack"), (91, "Behind"), (94, "Behind"), (95, "Violated")],
)
def test_the_state_goes_by_the_path_the_tolerance_and_the_whole_reduction(grams: int, state: str) -> None:
    assert judged(sums(grams, 1000)).state == state


def test_bounds_are_exact_to_the_microgram() -> None:
    on = sums(90, 1000)
    assert judged(on).state == "OnTrack"
    assert judged(replace(on, emissions_ug=on.emissions_ug + 1)).state == "Behind"
    edge = replace(on, emissions_ug=94_500_000)
    assert judged(edge).state == "Behind"
    assert judged(replace(edge, emissions_ug=94_500_001)).state == "Violated"


def test_a_target_that_was_met_before_it_began_is_achieved_at_once() -> None:
    assert judged(sums(70, 1000), at=START).state == "Achieved"


def test_without_tolerance_whatever_is_above_the_path_is_violated() -> None:
    assert judged(sums(91, 1000), terms=replace(TERMS, tolerance_percent=0)).state == "Violated"


def test_a_window_of_which_less_than_half_of_the_hours_are_known_has_no_figure() -> None:
    made = judged(sums(10, 1000, hours=24, known=11), missing="Prometheus does not answer")
    assert (made.state, made.current) == (TargetState.NO_DATA, None)
    why = "Prometheus does not answer"
    assert made.reason == f"units of 11 of the 24 hours of the window are known, half is needed: {why}"
    assert judged(sums(90, 1000, hours=24, known=12)).state == "OnTrack"


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (sums(1, 0), "no units were counted in the window"),
        (
            sums(0, 7000),
            "units were counted, and no pod that spec.selector selects used energy: does it select those that serve?",
        ),
        (sums(1, 999), "999 units were counted in the window, minimumUnits is 1000"),
        (sums(0, 0, hours=0), "no hour of the window is reported yet"),
    ],
)
def test_few_units_give_no_figure_and_no_absurd_ratio(window: UnitSums, reason: str) -> None:
    made = judged(window, terms=replace(TERMS, minimum_units_micro=1000 * 10**6))
    assert (made.state, made.reason) == ("NoData", reason)


def test_without_a_baseline_there_is_a_figure_and_no_state() -> None:
    made = judge_target(TERMS, LINEAR, None, sums(90, 1000), HALF, no_baseline="the baseline's span is not over")
    assert (made.state, made.current) == (TargetState.NO_DATA, Fraction(90_000_000))
    assert made.reason == "the baseline's span is not over"


def test_a_cleaner_grid_helps_the_total_and_not_the_efficiency() -> None:
    window = sums(50, 1000, joules=100)  # half the grams, the same energy
    assert judged(window).state == "Achieved"
    made = judged(window, terms=EFFICIENCY)
    assert made.state is TargetState.VIOLATED
    assert (made.at_grid, made.current) == (Fraction(100_000_000), Fraction(50_000_000))


def test_a_dirtier_grid_hurts_the_total_and_not_the_efficiency() -> None:
    window = sums(120, 1000, joules=85)
    assert (judged(window).state, judged(window, terms=EFFICIENCY).state) == ("Violated", "OnTrack")


def test_a_baseline_without_energy_cannot_judge_efficiency() -> None:
    made = judged(sums(50, 1000), of=baseline(grams=10, embodied=10, joules=0), terms=EFFICIENCY)
    assert made.state == "NoData"
    assert "has no energy" in made.reason


def test_a_window_without_energy_counts_its_embodied_part() -> None:
    assert judged(sums(85, 1000, embodied=85, joules=0), terms=EFFICIENCY).at_grid == 85_000_000


def test_a_stated_baseline_is_judged_by_the_total() -> None:
    assert judged(sums(91, 1000), of=stated(100)).state == "Behind"


@given(
    some_sums(), st.integers(0, 10**15), some_sums(least_units=1), some_paths(), st.booleans(), st.integers(0, 2**33)
)
def test_the_state_is_never_better_with_more_emissions(
    window: UnitSums, more: int, span: UnitSums, path: ReductionPath, efficiency: bool, at: int
) -> None:
    terms = EFFICIENCY if efficiency else TERMS
    of = measured_baseline(span, terms.per, START)
    worse = replace(window, emissions_ug=window.emissions_ug + more)
    assume(window.energy_uj or window.emissions_ug)  # else no pod was there
    first, then = (judge_target(terms, path, of, one, at).state for one in (window, worse))
    assert (first is TargetState.NO_DATA) == (then is TargetState.NO_DATA)
    if first is not TargetState.NO_DATA:
        assert ORDER.index(first) <= ORDER.index(then)


@given(some_sums(least_units=1), st.integers(1, 1000), some_paths(), st.integers(0, 2**33))
def test_efficiency_on_the_same_grid_is_the_total(span: UnitSums, times: int, path: ReductionPath, at: int) -> None:
    """A window of another energy, at just as many grams a joule."""
    of = measured_baseline(span, TERMS.per, START)
    energy, operational = span.energy_uj * times, span.operational_ug * times
    window = replace(span, energy_uj=energy, emissions_ug=operational + span.embodied_ug)
    total, efficiency = (judge_target(terms, path, of, window, at) for terms in (TERMS, EFFICIENCY))
    if energy or not operational:
        assert (total.state, total.compared) == (efficiency.state, efficiency.compared)


@pytest.mark.parametrize(
    ("compared", "baseline_ug", "text"),
    [(875, 1000, "-12.5"), (1000, 1000, "0.0"), (1125, 1000, "12.5"), (99_999, 100_000, "0.0"), (2, 3, "-33.3")],
)
def test_the_change_is_told_with_one_decimal_and_never_as_more_than_it_is(
    compared: int, baseline_ug: int, text: str
) -> None:
    assert change_percent(Fraction(compared), Fraction(baseline_ug)) == text
