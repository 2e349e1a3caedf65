"""The spans that a target's figures are of: the rolling window, and the calendar windows that are over.

All of them are whole hours of UTC, since units are counted by the hour. In a zone whose midnight is not on a full hour
of UTC, a calendar window begins with the hour that midnight is in, so windows still tile time.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from carbonbudget_operator.budgets.period import Calendar, Period, period_at

HOUR_S: Final = 3600
MOST_WINDOWS: Final = 12
_DAYS: Final[Mapping[Calendar, int]] = MappingProxyType({Calendar.DAY: 1, Calendar.WEEK: 7, Calendar.MONTH: 28})


def whole_hour(at: int) -> int:
    """The start of the hour of UTC that `at` is in."""
    return at - at % HOUR_S


def rolling_window(length: Calendar, through: int) -> Period:
    """The last 24 hours, 7 days or 28 days that end at the last full hour up to `through` (UTC seconds).

    28 and not a calendar month, so that each window has the same weekdays.
    """
    end = whole_hour(through)
    return Period(end - _DAYS[length] * 24 * HOUR_S, end)


def ended_windows(
    length: Calendar, zone: ZoneInfo, since: int, through: int, most: int = MOST_WINDOWS
) -> tuple[Period, ...]:
    """The calendar windows that ended by `through` and after `since`, newest first, at most `most`."""
    found: list[Period] = []
    current = period_at(length, zone, through)
    start = current.start
    if whole_hour(current.end) <= through:  # its last minutes are in an hour that belongs to the next one
        start = current.end
    while len(found) < most and whole_hour(start) > since:
        previous = period_at(length, zone, start - 1)
        found.append(Period(whole_hour(previous.start), whole_hour(start)))
        start = previous.start
    return tuple(found)
