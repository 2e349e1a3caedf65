"""What windows save against the baseline."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from tests.targets.figures import TERMS, baseline, some_sums, stated, sums, together

from carbonbudget_operator.targets.target_baseline import measured_baseline
from carbonbudget_operator.targets.unit_sums import UnitSums
from carbonbudget_operator.targets.window_savings import WindowSavings, window_savings


def saved(window: UnitSums) -> WindowSavings | None:
    return window_savings(baseline(), window, TERMS.per)  # 100 g and 100 J for 1000 units in 24 hours


def test_ten_grams_less_for_as_many_units_are_saved() -> None:
    assert saved(sums(90, 1000)) == WindowSavings(10_000_000, 10_000_000, 10_000_000)


def test_more_traffic_saves_per_unit_while_emissions_rise() -> None:
    assert saved(sums(180, 2000)) == WindowSavings(20_000_000, -80_000_000, 20_000_000)


def test_less_traffic_lets_emissions_fall_without_a_saving_per_unit() -> None:
    assert saved(sums(50, 500)) == WindowSavings(0, 50_000_000, 0)


def test_a_cleaner_grid_saves_nothing() -> None:
    assert saved(sums(50, 1000, joules=100)) == WindowSavings(0, 0, 0)


def test_the_fall_is_against_as_many_hours_as_are_known() -> None:
    assert saved(sums(50, 1000, hours=24, known=12)) == WindowSavings(50_000_000, 0, 50_000_000)


def test_a_stated_baseline_has_no_absolute_fall() -> None:
    assert window_savings(stated(100), sums(90, 1000), TERMS.per) == WindowSavings(10_000_000, 0, 0)


def test_without_a_grid_nothing_can_be_said() -> None:
    of = measured_baseline(sums(10, 1000, embodied=10, joules=0), TERMS.per, 0)
    assert window_savings(of, sums(5, 1000, joules=5), TERMS.per) is None


def test_emissions_without_units_are_no_fall() -> None:
    """Half of the emissions have no units, as where a namespace's counter fails: they are not saved."""
    half = replace(sums(45, 500), all_emissions_ug=90 * 10**6, known_share=50)
    whole = replace(sums(90, 1000), all_emissions_ug=90 * 10**6, known_share=100)
    for window in (half, whole):
        made = saved(window)
        assert made is not None
        assert made.absolute_fall_ug == 10_000_000


@given(some_sums(least_units=1), some_sums(), st.integers(0, 10**15), st.integers(1, 10**15))
def test_the_fall_never_rises_with_emissions_that_have_no_units(
    span: UnitSums, window: UnitSums, more: int, even_more: int
) -> None:
    of = measured_baseline(replace(span, all_emissions_ug=span.emissions_ug, known_share=100), 1, 0)
    made = [
        window_savings(of, replace(window, all_emissions_ug=window.emissions_ug + extra), 1)
        for extra in (0, more, more + even_more)
    ]
    falls = [one.absolute_fall_ug for one in made if one is not None]
    assert falls == sorted(falls, reverse=True)


@given(some_sums(least_units=1), some_sums(), st.integers(1, 10**9))
def test_what_a_window_saved_and_what_it_emitted_are_the_baselines_rate_times_its_units(
    span: UnitSums, window: UnitSums, per: int
) -> None:
    of = measured_baseline(span, per, 0)
    made, emitted = window_savings(of, window, per), of.at_its_grid(window)
    if made is None or emitted is None:
        assert (made, emitted) == (None, None)
        return
    assert made.saved_ug + emitted == span.emissions_ug * window.units_micro // span.units_micro
    assert made.saved_uj + window.energy_uj == span.energy_uj * window.units_micro // span.units_micro


@given(some_sums(least_units=1), st.lists(some_sums(), min_size=1, max_size=5))
def test_savings_of_windows_are_those_of_all_together_but_for_rounding_down(
    span: UnitSums, windows: list[UnitSums]
) -> None:
    of = measured_baseline(span, 1, 0)
    parts = [window_savings(of, one, 1) for one in windows]
    whole = window_savings(of, reduce(together, windows), 1)
    if whole is None or None in parts:
        return
    difference = whole.saved_ug - sum(one.saved_ug for one in parts if one is not None)
    assert abs(difference) < 2 * len(windows)
