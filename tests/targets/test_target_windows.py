"""The rolling window and the calendar windows that are over."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.targets.figures import DAY, HOUR

from carbonbudget_operator.budgets.period import Calendar, Period
from carbonbudget_operator.targets.target_windows import ended_windows, rolling_window

UTC = ZoneInfo("UTC")
LENGTHS = st.sampled_from([Calendar.DAY, Calendar.WEEK, Calendar.MONTH])
ZONES = st.sampled_from(["UTC", "Europe/Paris", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"])


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text + "+00:00").timestamp())


def times(period: Period) -> tuple[str, str]:
    found = (dt.datetime.fromtimestamp(each, dt.UTC) for each in (period.start, period.end))
    first, last = (each.strftime("%m-%d %H:%M") for each in found)
    return first, last


@pytest.mark.parametrize(("length", "days"), [(Calendar.DAY, 1), (Calendar.WEEK, 7), (Calendar.MONTH, 28)])
def test_the_rolling_window_ends_at_the_last_full_hour(length: Calendar, days: int) -> None:
    end = at("2026-11-24T13:00:00")
    for through in (end, end + 1, end + HOUR - 1):
        assert rolling_window(length, through) == Period(end - days * DAY, end)


def test_the_days_that_are_over_are_those_of_the_zone() -> None:
    found = ended_windows(Calendar.DAY, ZoneInfo("Europe/Paris"), at("2026-10-24T00:00:00"), at("2026-10-26T12:00:00"))
    assert [times(one) for one in found] == [
        ("10-24 22:00", "10-25 23:00"),  # 25 hours: the clocks went back
        ("10-23 22:00", "10-24 22:00"),
    ]


def test_a_midnight_inside_an_hour_of_utc_moves_to_its_start() -> None:
    found = ended_windows(Calendar.DAY, ZoneInfo("Asia/Kolkata"), at("2026-11-22T18:00:00"), at("2026-11-24T18:00:00"))
    assert [times(one) for one in found] == [("11-23 18:00", "11-24 18:00"), ("11-22 18:00", "11-23 18:00")]


def test_a_week_is_over_with_its_last_hour_and_not_before() -> None:
    monday = at("2026-11-23T00:00:00")
    assert ended_windows(Calendar.WEEK, UTC, monday - DAY, monday - 1) == ()
    assert ended_windows(Calendar.WEEK, UTC, monday - DAY, monday) == (Period(monday - 7 * DAY, monday),)


def test_at_most_twelve_windows_are_given() -> None:
    assert len(ended_windows(Calendar.DAY, UTC, 0, at("2026-11-24T00:00:00"))) == 12


@given(LENGTHS, ZONES, st.integers(10**9, 2 * 10**9), st.integers(0, 90 * DAY))
def test_windows_tile_time_in_whole_hours_up_to_what_is_reported(
    length: Calendar, zone: str, through: int, back: int
) -> None:
    since = through - back
    found = ended_windows(length, ZoneInfo(zone), since, through)
    for one in found:
        assert one.start % HOUR == one.end % HOUR == 0
        assert one.start < one.end <= through
        assert one.end > since
    assert [later.start for later in found[:-1]] == [earlier.end for earlier in found[1:]]
