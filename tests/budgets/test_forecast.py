"""What is to come: by the rate so far, and by the hour of the week once there are two weeks."""

from hypothesis import assume, given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.forecast import (
    MOST_HOURS,
    WeeklyProfile,
    forecast_range,
    forecast_use,
    steady,
    weekly_profile,
)
from carbonbudget_operator.budgets.period import Period

HOUR = 3600
DAY = 24 * HOUR
PERIOD = Period(30 * DAY, 60 * DAY)


def a_week(*hours_ug: int) -> WeeklyProfile:
    """The week made of three equal ones."""
    week = weekly_profile(0, hours_ug * 3)
    assert week is not None
    return week


def test_the_rate_so_far_goes_on() -> None:
    outlook = forecast_use(PERIOD, 10_000, 1000, PERIOD.start, PERIOD.start + 10 * DAY, PERIOD.start + 10 * DAY, None)
    assert outlook is not None
    assert (outlook.forecast_ug, outlook.exhausted_at) == (3000, 0)


def test_the_rate_counts_from_the_first_data() -> None:
    now = PERIOD.start + 20 * DAY
    outlook = forecast_use(PERIOD, 2000, 1000, now - 10 * DAY, now, now, None)
    assert outlook is not None
    assert (outlook.forecast_ug, outlook.exhausted_at) == (2000, PERIOD.end)


def test_the_first_hour_makes_no_forecast_nor_the_first_tenth_of_a_short_period() -> None:
    now = PERIOD.start + HOUR - 1
    assert forecast_use(PERIOD, 1000, 10, PERIOD.start, now, now, None) is None
    assert forecast_use(PERIOD, 1000, 10, PERIOD.start, now + 1, now + 1, None) is not None
    short = Period(0, 1000)
    assert forecast_use(short, 1000, 10, 0, 99, 99, None) is None
    assert forecast_use(short, 1000, 10, 0, 100, 100, None) is not None


def test_with_two_weeks_of_data_nights_are_expected_to_be_nights() -> None:
    day = (0,) * 12 + (10,) * 12
    week = a_week(*day * 7)
    assert weekly_profile(0, day * 13) is None
    through = PERIOD.end - DAY
    outlook = forecast_use(PERIOD, 1030, 1000, 0, through, through, week)
    assert outlook is not None
    assert outlook.forecast_ug == 1120
    assert outlook.exhausted_at == through + 15 * HOUR


def test_hours_before_the_first_use_are_no_data_and_only_four_weeks_count() -> None:
    assert weekly_profile(0, [0] * 200 + [5] * 335) is None
    late = weekly_profile(0, [0] * 200 + [5] * 336)
    assert late is not None
    assert set(late.hours_ug) == {5}
    recent = weekly_profile(0, [100] * 10 + [5] * 672)
    assert recent is not None
    assert set(recent.hours_ug) == {5}


def test_a_week_that_nobody_reported_lowers_no_forecast() -> None:
    weeks = [[5] * 168, [None] * 168, [5] * 168, [5] * 168]
    week = weekly_profile(0, [value for each in weeks for value in each])
    assert week is not None
    assert set(week.hours_ug) == {5}
    used = [value for each in weeks for value in each]
    assert forecast_range(0, used, 0, 672 * HOUR, 673 * HOUR) == (5, 5)


def test_hours_in_which_a_cluster_is_switched_off_every_week_are_expected_to_be_so() -> None:
    day = [None] * 8 + [10] * 16
    week = weekly_profile(0, day * 15)
    assert week is not None
    assert week.hours_ug == (*[0] * 8, *[10] * 16) * 7


def test_an_outage_longer_than_the_weeks_around_it_makes_no_profile() -> None:
    """Of some hours of the week nothing is known: they are not hours without use."""
    assert weekly_profile(0, [5] * 100 + [None] * 180 + [5] * 100) is None
    assert weekly_profile(0, [5] * 100 + [None] * 168 + [5] * 100) is not None


@given(st.lists(st.none() | st.integers(1, 10**6), min_size=336, max_size=MOST_HOURS + 50))
def test_a_profile_lies_within_what_was_known_of_each_hour(used: list[int | None]) -> None:
    week = weekly_profile(0, used)
    if week is not None:
        for hour, expected in enumerate(week.hours_ug):
            known = [value for value in used[hour::168] if value is not None]
            assert expected == 0 if not known else expected <= max(known)
            recent = used[max(0, len(used) - MOST_HOURS) :]
            shift = max(0, len(used) - MOST_HOURS)
            lately = [
                value for index, value in enumerate(recent) if (index + shift) % 168 == hour and value is not None
            ]
            assert not lately or min(lately) <= expected


def test_the_hour_of_the_week_goes_by_utc_whatever_the_first_hour_is() -> None:
    hours = [index % 168 for index in range(1, 1 + 336)]
    week = weekly_profile(HOUR, hours)
    assert week is not None
    assert week.hours_ug == tuple(range(168))


def test_a_moment_is_told_anew_only_when_it_moved() -> None:
    assert steady(100 * HOUR, 103 * HOUR, 0) == 103 * HOUR
    assert steady(100 * HOUR, 110 * HOUR, 0) == 100 * HOUR
    assert steady(100 * HOUR, HOUR, 2 * HOUR) == 100 * HOUR
    assert steady(0, 100 * HOUR, 0) == 0
    assert steady(100 * HOUR, 0, 0) == 100 * HOUR


weeks = st.one_of(
    st.none(), st.lists(st.integers(0, 10**12), min_size=168, max_size=168).map(lambda h: a_week(1, *h[1:]))
)


@given(
    st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 60 * DAY), st.integers(0, 60 * DAY), weeks
)  # fmt: skip
def test_a_forecast_is_never_below_the_use_and_exhaustion_lies_between_now_and_the_end(
    limit_ug: int, used_ug: int, data_from: int, data_through: int, week: WeeklyProfile | None
) -> None:
    now = max(data_through, PERIOD.start)
    outlook = forecast_use(PERIOD, limit_ug, used_ug, data_from, data_through, now, week)
    assume(outlook is not None)
    assert outlook is not None
    assert outlook.forecast_ug >= used_ug
    assert (outlook.exhausted_at != 0) == (outlook.forecast_ug >= limit_ug and outlook.forecast_ug > 0)
    if outlook.exhausted_at:
        assert now <= outlook.exhausted_at <= PERIOD.end


@given(
    st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 30 * DAY), weeks
)  # fmt: skip
def test_more_use_never_expects_less_nor_a_later_end(
    limit_ug: int, used_ug: int, more_ug: int, elapsed_s: int, week: WeeklyProfile | None
) -> None:
    now = PERIOD.start + elapsed_s
    less = forecast_use(PERIOD, limit_ug, used_ug, PERIOD.start, now, now, week)
    more = forecast_use(PERIOD, limit_ug, used_ug + more_ug, PERIOD.start, now, now, week)
    assert (less is None) == (more is None)
    if less is not None and more is not None:
        assert less.forecast_ug <= more.forecast_ug
        if less.exhausted_at and used_ug:
            assert now <= more.exhausted_at <= less.exhausted_at


@given(st.lists(st.integers(0, 10**12), min_size=168, max_size=168), st.integers(0, 10**10), st.integers(1, 10**14))
def test_the_moment_of_exhaustion_is_the_first_at_which_the_expected_use_is_there(
    hours: list[int], at: int, more_ug: int
) -> None:
    week = a_week(1, *hours[1:])
    target = week.until(at) + more_ug
    found = week.reaches(target)
    assert week.until(found) >= target > week.until(found - 1)


def test_the_range_is_what_the_lowest_and_the_highest_of_the_last_weeks_would_bring() -> None:
    used = [1] * 168 + [5] * 168 + [3] * 168
    assert forecast_range(0, used, 1_000, 504 * 3600, (504 + 24) * 3600) == (1_024, 1_120)
    assert forecast_range(0, used, 1_000, 504 * 3600 + 1800, 505 * 3600) == (1_001, 1_003)  # half an hour, rounded
    assert forecast_range(0, used[:335], 1_000, 335 * 3600, 504 * 3600) is None
    assert forecast_range(0, used, 1_000, 504 * 3600, 500 * 3600) == (1_000, 1_000)  # nothing is to come


@given(st.lists(st.integers(1, 10**12), min_size=336, max_size=MOST_HOURS), st.integers(0, 3 * 168))
def test_the_mean_week_lies_in_the_range_where_all_weeks_are_whole(used: list[int], hours: int) -> None:
    used = used[: len(used) // 168 * 168]
    through, end = len(used) * 3600, (len(used) + hours) * 3600
    week, found = weekly_profile(0, used), forecast_range(0, used, 0, through, end)
    assert week is not None
    assert found is not None
    expected = week.until(end) - week.until(through)
    assert found[0] <= expected + hours  # each hour's mean is rounded down
    assert expected <= found[1]


def test_hours_with_a_forecast_of_the_grid_are_changed_and_the_others_are_not() -> None:
    """10 a hour; the source expects half the usual intensity in two hours, and twice it in a third."""
    week = a_week(*(10,) * 168)
    through = PERIOD.end - DAY
    near = week.changed(through + HOUR, [500, 500, 2000])
    usual, changed = (forecast_use(PERIOD, 1100, 1000, 0, through, through, one) for one in (week, near))
    assert usual is not None
    assert changed is not None
    assert (usual.forecast_ug, usual.exhausted_at) == (1240, through + 10 * HOUR)
    assert changed.forecast_ug == 1240 - 5 - 5 + 10
    assert changed.exhausted_at == through + 10 * HOUR
    early = forecast_use(PERIOD, 1020, 1000, 0, through, through, near)
    assert early is not None
    assert early.exhausted_at == through + 3 * HOUR  # 10, 5 and 5


weeks_of_use = st.lists(st.integers(0, 50), min_size=12, max_size=12).filter(any).map(lambda some: some * 14)


@given(
    weeks_of_use, st.integers(0, 400), st.lists(st.integers(0, 10_000), max_size=30), st.integers(0, 700 * HOUR),
    st.integers(0, 700 * HOUR),
)  # fmt: skip
def test_what_is_expected_never_falls_and_is_reached_where_it_is_expected(
    hours: list[int], first: int, permille: list[int], at: int, later: int
) -> None:
    week = a_week(*hours).changed(first * HOUR, permille)
    assert week.until(at) <= week.until(at + later)
    missing = week.until(at + later) - week.until(at)
    if week.until(at + later) > 0 and missing > 0:
        reached = week.reaches(week.until(at + later))
        assert week.until(reached) >= week.until(at + later) > week.until(reached - 1)


@given(weeks_of_use, st.integers(0, 400), st.integers(0, 200), st.integers(0, 700 * HOUR))
def test_a_forecast_as_usual_changes_nothing(hours: list[int], first: int, count: int, at: int) -> None:
    week = a_week(*hours)
    usual = week.changed(first * HOUR, [1000] * count)
    assert usual.until(at) == week.until(at)
    if at:
        assert usual.reaches(at) == week.reaches(at)
