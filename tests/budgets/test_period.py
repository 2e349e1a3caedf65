"""Periods: they tile time, in every zone, over clock changes."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.period import Calendar, PeriodError, period_at, time_zone

# Half-hour offsets, clock changes at midnight, a skipped day, both hemispheres.
ZONES = [
    "UTC",
    "Europe/Paris",
    "Asia/Kolkata",
    "America/Havana",
    "Pacific/Apia",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kathmandu",
]


def utc(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp())


@given(
    st.sampled_from(Calendar), st.sampled_from(ZONES), st.integers(utc("1995-01-01T00:00Z"), utc("2037-01-01T00:00Z"))
)
def test_periods_tile_time_without_hole_or_overlap(calendar: Calendar, zone: str, now: int) -> None:
    period = period_at(calendar, ZoneInfo(zone), now)
    assert period.start <= now < period.end
    assert period_at(calendar, ZoneInfo(zone), period.start) == period
    assert period_at(calendar, ZoneInfo(zone), period.end - 1) == period
    assert period_at(calendar, ZoneInfo(zone), period.end).start == period.end


@pytest.mark.parametrize(
    ("calendar", "zone", "now", "start", "end"),
    [
        (Calendar.MONTH, "Europe/Paris", "2026-11-23T18:00Z", "2026-10-31T23:00Z", "2026-11-30T23:00Z"),
        (Calendar.DAY, "Asia/Kolkata", "2026-11-23T18:37Z", "2026-11-23T18:30Z", "2026-11-24T18:30Z"),
        (Calendar.DAY, "Europe/Paris", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        (Calendar.WEEK, "UTC", "2027-01-02T00:00Z", "2026-12-28T00:00Z", "2027-01-04T00:00Z"),
        (Calendar.DAY, "America/Havana", "2026-11-01T12:00Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
        (Calendar.MONTH, "UTC", "2028-02-29T23:59Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
        (Calendar.MONTH, "UTC", "2027-02-28T23:59Z", "2027-02-01T00:00Z", "2027-03-01T00:00Z"),
        (Calendar.MONTH, "Pacific/Apia", "2011-12-31T09:00Z", "2011-12-01T10:00Z", "2011-12-31T10:00Z"),
        (Calendar.QUARTER, "UTC", "2028-02-29T00:00Z", "2028-01-01T00:00Z", "2028-04-01T00:00Z"),
        (Calendar.YEAR, "UTC", "2028-12-31T23:59Z", "2028-01-01T00:00Z", "2029-01-01T00:00Z"),
    ],
)
def test_a_period_starts_at_local_midnight(calendar: Calendar, zone: str, now: str, start: str, end: str) -> None:
    period = period_at(calendar, ZoneInfo(zone), utc(now))
    assert (period.start, period.end) == (utc(start), utc(end))


@pytest.mark.parametrize("name", ["Mars/Phobos", "", "../etc/passwd", "Europe"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(PeriodError, match="is no time zone"):
        time_zone(name)
