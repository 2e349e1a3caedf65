"""Periods: half-open spans [start, end) in UTC seconds, cut by the calendar of a time zone.

A calendar period starts at local midnight. Where a clock change skips or repeats that midnight, the first
instant of the local day counts (zoneinfo's rules, fold 0): periods of a zone tile time without hole or
overlap.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class Calendar(StrEnum):
    """Lengths of a calendar period."""

    DAY = "Day"
    WEEK = "Week"  # ISO: from Monday
    MONTH = "Month"
    QUARTER = "Quarter"
    YEAR = "Year"


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end) in UTC seconds."""

    start: int
    end: int


class PeriodError(ValueError):
    """A period that cannot be computed; one line says why."""


def time_zone(name: str) -> ZoneInfo:
    """The zone of the IANA database. Raises PeriodError if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PeriodError(f"{name!r} is no time zone: write one such as Europe/Paris or UTC") from None


def period_at(calendar: Calendar, zone: ZoneInfo, now: int) -> Period:
    """The calendar period that contains `now`."""
    today = dt.datetime.fromtimestamp(now, zone).date()
    first = _first_day(calendar, today)
    # A midnight that a clock change skipped lies before the first instant of that day; one day back is then
    # still the right period, and its end the right start of the next.
    period = Period(_midnight(first, zone), _midnight(_next_first(calendar, first), zone))
    if now < period.start:
        previous = _first_day(calendar, first - dt.timedelta(days=1))
        return Period(_midnight(previous, zone), period.start)
    return period


def _first_day(calendar: Calendar, day: dt.date) -> dt.date:
    match calendar:
        case Calendar.DAY:
            return day
        case Calendar.WEEK:
            return day - dt.timedelta(days=day.weekday())
        case Calendar.MONTH:
            return day.replace(day=1)
        case Calendar.QUARTER:
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case Calendar.YEAR:
            return day.replace(month=1, day=1)


def _next_first(calendar: Calendar, first: dt.date) -> dt.date:
    """A day that is surely in the next period, taken back to its first."""
    days = {
        Calendar.DAY: 1,
        Calendar.WEEK: 7,
        Calendar.MONTH: 31,
        Calendar.QUARTER: 92,
        Calendar.YEAR: 366,
    }
    return _first_day(calendar, first + dt.timedelta(days=days[calendar]))


def _midnight(day: dt.date, zone: ZoneInfo) -> int:
    return int(dt.datetime.combine(day, dt.time.min, zone).timestamp())
