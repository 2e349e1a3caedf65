"""Time windows as people write them in a query, and the steps that a series divides one into. Pure, UTC.

The words are OpenCost's (`today`, `lastweek`, `7d`), so that its users need no new ones.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

from carbonbudget_operator.ledger.time_slices import HOUR

Step = Literal["hour", "day", "week", "month", "all"]
Range = tuple[int, int]  # [start, end) in UTC seconds

STEPS: Final[tuple[Step, ...]] = get_args(Step)
DAY: Final = 24 * HOUR
# How long a window may be. An hour's step has the most rows; a ledger keeps 25 months of hours by default.
LONGEST_DAYS: Final[Mapping[Step, int]] = {"hour": 35, "day": 400, "week": 1_200, "month": 3_660, "all": 3_660}
_LAST: Final = re.compile(r"([1-9]\d{0,4})([hdw])")
_SECONDS: Final = {"h": HOUR, "d": DAY, "w": 7 * DAY}
_LATEST: Final = 253_402_128_000  # 9999-12-30: answers write their instants as dates
_HOW: Final = "write today, yesterday, week, lastweek, month, lastmonth, a number with h, d or w (7d), or FROM,TO"


class WindowError(ValueError):
    """A window that cannot be read or answered; one sentence says what to write."""


def parse_window(text: str, now: int) -> Range:
    """The window that `text` names at the UTC second `now`. `Nd` and its like end at `now`. Raises WindowError."""
    if (last := _LAST.fullmatch(text)) is not None:
        return now - int(last[1]) * _SECONDS[last[2]], now
    midnight = now - now % DAY
    monday = midnight - _day(midnight).weekday() * DAY
    first = _seconds(_day(midnight).replace(day=1))
    named = {
        "today": (midnight, now),
        "yesterday": (midnight - DAY, midnight),
        "week": (monday, now),
        "lastweek": (monday - 7 * DAY, monday),
        "month": (first, now),
        "lastmonth": (_seconds((_day(first) - dt.timedelta(days=1)).replace(day=1)), first),
    }
    if text in named:
        return named[text]
    start, separator, end = text.partition(",")
    if not separator:
        raise WindowError(f"{text!r} is no window: {_HOW}")
    return parse_instant(start), parse_instant(end)


def parse_instant(text: str) -> int:
    """The UTC second of `2026-01-31`, `2026-01-31T12:00:00Z` or a number of seconds. Raises WindowError."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 14:
        second = int(text)
    else:
        try:
            instant = dt.datetime.fromisoformat(text)
            second = int((instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)).timestamp())
        except (ValueError, OverflowError):
            raise WindowError(f"{text!r} is no instant: write 2026-01-31T12:00:00Z or seconds since 1970") from None
    if not 0 <= second <= _LATEST:
        raise WindowError(f"{text!r} is out of range: write an instant from 1970 to 9999")
    return second


def check_window(window: Range, step: Step) -> None:
    """Raise WindowError where a window is empty, or too long for its step."""
    start, end = window
    if end <= start:
        raise WindowError("the window ends before it starts: give an end after the start")
    if end - start > LONGEST_DAYS[step] * DAY:
        longer = next((wider for wider in STEPS if end - start <= LONGEST_DAYS[wider] * DAY), None)
        advice = f"use step={longer}" if longer else "ask about a shorter window"
        raise WindowError(f"a window by {step} has at most {LONGEST_DAYS[step]} days: {advice}")


def steps_of(window: Range, step: Step) -> list[Range]:
    """The window's parts at the step's calendar borders, in order; together they are the window."""
    start, end = window
    if step == "all":
        return [window]
    found = []
    while start < end:
        until = min(end, _next(start, step))
        found.append((start, until))
        start = until
    return found


def before(window: Range) -> Range:
    """The window of the same length that ends where this one starts."""
    start, end = window
    return start - (end - start), start


def _next(at: int, step: Step) -> int:
    """The first border after `at`."""
    if step == "hour":
        return at - at % HOUR + HOUR
    midnight = at - at % DAY
    if step == "day":
        return midnight + DAY
    day = _day(midnight)
    if step == "week":
        return midnight + (7 - day.weekday()) * DAY
    return _seconds(dt.date(day.year + day.month // 12, day.month % 12 + 1, 1))


def _day(midnight: int) -> dt.date:
    return dt.datetime.fromtimestamp(midnight, dt.UTC).date()


def _seconds(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())
