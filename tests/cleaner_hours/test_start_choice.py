"""The start of a run: the laws that each choice keeps, and the cases that they come from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.cleaner_hours.intensity_hours import (
    HOUR,
    IntensityFigure,
    IntensityTimeline,
    intensity_hours,
)
from carbonbudget_operator.cleaner_hours.start_choice import choose_start, expected_ug, rank

DAY = 24 * HOUR
T0 = 1_796_083_200  # a whole hour
HOURS = st.lists(st.one_of(st.none(), st.integers(0, 900_000)), max_size=40)


def hours_of(*mg: int | None, zone: str = "DE", first: int = T0) -> IntensityTimeline:
    return intensity_hours(figures(*mg, zone=zone, first=first), first)


def figures(*mg: int | None, zone: str = "DE", first: int = T0) -> list[IntensityFigure]:
    return [
        IntensityFigure(first + n * HOUR, zone, one, one // 2, one * 2, True)
        for n, one in enumerate(mg)
        if one is not None
    ]


def test_the_cleanest_hour_before_the_deadline_is_chosen_and_compared_with_now() -> None:
    hours = hours_of(500_000, 400_000, 300_000, 200_000, 600_000, 100_000)
    choice = choose_start(hours, HOUR, T0, T0 + 5 * HOUR)
    assert (choice.start, choice.latest) == (T0 + 3 * HOUR, T0 + 4 * HOUR)
    assert choice.percent_less == 60
    assert expected_ug(5_000_000, 500_000, choice.chosen, HOUR) == 2_000_000
    assert expected_ug(5_000_000, 500_000, choice.at_once, HOUR) == 5_000_000


def test_a_run_that_is_no_whole_hour_long_lies_wholly_in_the_cleanest_hour_and_starts_as_early_as_that_allows() -> None:
    hours = hours_of(500_000, 100_000, 500_000)
    assert choose_start(hours, 600, T0, T0 + 3 * HOUR).start == T0 + HOUR
    assert choose_start(hours, HOUR + 600, T0, T0 + 3 * HOUR).start == T0 + HOUR - 600


def test_the_latest_start_itself_is_chosen_where_intensity_falls_until_then() -> None:
    assert choose_start(hours_of(500_000, 100_000), HOUR, T0, T0 + HOUR + 1800).start == T0 + 1800


def test_a_deadline_that_is_too_near_gives_a_start_now_and_says_so() -> None:
    choice = choose_start(hours_of(500_000, 100_000), 2 * HOUR, T0, T0 + HOUR)
    assert choice.start == T0
    assert choice.is_late(T0)
    assert choice.chosen == choice.at_once


def test_of_hours_that_are_not_known_none_is_chosen_over_known_ones() -> None:
    hours = hours_of(900_000, None, 800_000)
    assert choose_start(hours, HOUR, T0, T0 + DAY).start == T0 + 2 * HOUR
    assert choose_start(hours, HOUR, T0 + HOUR, T0 + DAY).start == T0 + 2 * HOUR


def test_without_any_figure_the_start_is_now_and_nothing_is_expected() -> None:
    choice = choose_start(hours_of(), HOUR, T0 + 5, T0 + DAY)
    assert choice.start == T0 + 5
    assert choice.percent_less is None
    assert expected_ug(5_000_000, 500_000, choice.chosen, HOUR) is None


def test_a_run_that_is_longer_than_the_forecast_starts_where_most_of_it_is_known() -> None:
    assert choose_start(hours_of(*[500_000] * 3, 100_000), 10 * HOUR, T0, T0 + 5 * DAY).start == T0


def test_of_several_zones_an_hour_is_the_mean_and_known_if_each_is() -> None:
    both = [*figures(100_000, 200_000, 300_000), *figures(300_000, 400_000, zone="FR")]
    hours = intensity_hours(both, T0)
    assert hours.zones == ("DE", "FR")
    assert hours.hours == ((200_000, 100_000, 400_000), (300_000, 150_000, 600_000), None)
    assert hours.mean_mg(T0, T0 + 3 * HOUR) == 250_000


def test_figures_of_half_hours_and_of_other_years_are_left_out() -> None:
    odd = [IntensityFigure(T0 + 1800, "DE", 1, 1, 1, True), IntensityFigure(T0 + 400 * DAY, "DE", 1, 1, 1, True)]
    assert intensity_hours([*odd, *figures(5)], T0).hours == ((5, 2, 10),)


@given(
    HOURS, st.integers(1, 40 * HOUR), st.integers(-3 * HOUR, 30 * HOUR), st.integers(-5 * HOUR, 50 * HOUR), st.data()
)
def test_no_allowed_second_is_better_than_the_chosen_one(
    mg: list[int | None], duration_s: int, since_s: int, slack_s: int, data: st.DataObject
) -> None:
    hours, now = hours_of(*mg), T0 + since_s
    choice = choose_start(hours, duration_s, now, now + duration_s + slack_s)
    other = now + data.draw(st.integers(0, max(0, slack_s)))
    chosen = rank(choice.chosen, choice.start)
    assert chosen <= rank(hours.exposure(other, duration_s), other)
    assert choice.chosen == hours.exposure(choice.start, duration_s)


@given(HOURS, st.integers(1, 40 * HOUR), st.integers(-3 * HOUR, 30 * HOUR), st.integers(-5 * HOUR, 50 * HOUR))
def test_a_run_never_starts_before_now_and_ends_by_its_deadline_where_that_is_possible(
    mg: list[int | None], duration_s: int, since_s: int, slack_s: int
) -> None:
    now = T0 + since_s
    choice = choose_start(hours_of(*mg), duration_s, now, now + duration_s + slack_s)
    assert now <= choice.start <= max(now, now + slack_s)
    assert choice.is_late(now) is (slack_s < 0)


@given(HOURS, st.integers(1, 40 * HOUR), st.integers(0, 40 * HOUR), st.integers(1, 10**12), st.integers(1, 900_000))
def test_grams_of_a_run_are_those_of_its_parts_and_less_exposure_never_emits_more(
    mg: list[int | None], duration_s: int, after_s: int, base_ug: int, reference_mg: int
) -> None:
    hours, cut = hours_of(*mg), duration_s // 2
    whole, first = hours.exposure(T0 + after_s, duration_s), hours.exposure(T0 + after_s, cut)
    second = hours.exposure(T0 + after_s + cut, duration_s - cut)
    assert whole == tuple(a + b for a, b in zip(first, second, strict=True))
    assert whole.low_mg_s <= whole.mg_s <= whole.high_mg_s
    choice = choose_start(hours, duration_s, T0, T0 + after_s + duration_s)
    at_start = expected_ug(base_ug, reference_mg, choice.chosen, duration_s)
    other = expected_ug(base_ug, reference_mg, whole, duration_s)
    assert other is None or (at_start is not None and at_start <= other)
