"""Windows and steps as OpenCost reads them. Pure, UTC.

OpenCost's words mean other spans than those of /api/v1: `7d` ends at the next midnight, a week starts on Sunday,
`today` is the whole day. Source: opencost/opencost, core/pkg/opencost/window.go.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final, Literal, get_args

from carbonbudget_operator.answers.window_parser import Range, WindowError, check_window, parse_instant
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.printable import printable

Calendar = Literal["hour", "day", "week", "month", "quarter"]
CALENDAR: Final[tuple[Calendar, ...]] = get_args(Calendar)
MAX_STEPS: Final = 1_000
_DAY: Final = 24 * HOUR
_SECONDS: Final = {"m": 60, "h": HOUR, "d": _DAY, "w": 7 * _DAY}
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
_OFFSET_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw]) offset ([0-9]{1,6})([mhdw])")
_SECOND_PAIR: Final = re.compile(r"([0-9]{1,13})-([0-9]{1,13})")
_HOW: Final = (
    "write today, yesterday, week, lastweek, month, lastmonth, a number with m, h, d or w (7d), '7d offset 1d', "
    "or FROM,TO"
)


def request_window(text: str, now: int) -> Range:
    """[start, end) in UTC seconds of a window at the UTC second `now`; its end may be later than `now`.

    Raises:
        WindowError: it cannot be read, or is empty.
    """
    start, end = _window(text.strip(), now)
    if not 0 <= start < end:
        raise WindowError("the window ends before it starts: give an end after the start")
    return start, end


def _window(text: str, now: int) -> Range:
    midnight = now - now % _DAY
    if (span := _SPAN.fullmatch(text)) is not None:
        number, unit = int(span[1]), _SECONDS[span[2]]
        border = min(unit, _DAY)  # weeks end at midnight too
        end = now - now % border + border
        return end - number * unit, end
    if (span := _OFFSET_SPAN.fullmatch(text)) is not None:
        end = now - int(span[3]) * _SECONDS[span[4]]
        return end - int(span[1]) * _SECONDS[span[2]], end
    sunday = midnight - (_date(midnight).weekday() + 1) % 7 * _DAY
    first = _seconds(_date(midnight).replace(day=1))
    named = {
        "today": (midnight, midnight + _DAY),
        "yesterday": (midnight - _DAY, midnight),
        "week": (sunday, now),
        "lastweek": (sunday - 7 * _DAY, sunday),
        "month": (first, now),
        "lastmonth": (_seconds(_date(first - _DAY).replace(day=1)), first),
    }
    if text in named:
        return named[text]
    pair = _SECOND_PAIR.fullmatch(text)
    start, separator, end_text = (pair[1], ",", pair[2]) if pair is not None else text.partition(",")
    if not separator:
        raise WindowError(f"window: {printable(text, 60)!r} cannot be read: {_HOW}")
    return parse_instant(start), parse_instant(end_text)


def step_seconds(text: str) -> int | Calendar:
    """The length of a step in seconds, or the name of its calendar unit. Raises WindowError."""
    for unit in CALENDAR:
        if text == unit:
            return unit
    span = _SPAN.fullmatch(text)
    seconds = int(span[1]) * _SECONDS[span[2]] if span is not None else 0
    if not seconds:
        raise WindowError(f"step: {printable(text, 60)!r} cannot be read: write 1h, 1d, 1w, hour, day, week or month")
    if seconds % HOUR:
        raise WindowError("step: the ledger has whole hours: write a step of 1h or a multiple of it")
    return seconds


def steps_within(window: Range, step: int | Calendar | None) -> list[Range]:
    """The steps that the window divides into, in order; they add up to it. None: the window is one step.

    A step in seconds is counted from the start of the window, a calendar unit from its own borders; a week starts on
    Sunday.

    Raises:
        WindowError: the window is too long for this step.
    """
    length = 0 if step is None else step if isinstance(step, int) else _SECONDS["h" if step == "hour" else "d"]
    check_window(window, "all" if not length else "day" if length >= _DAY else "hour")
    start, end = window
    found: list[Range] = []
    while start < end:
        until = end if step is None else min(end, start + step if isinstance(step, int) else _next(start, step))
        found.append((start, until))
        start = until
        if len(found) > MAX_STEPS:
            raise WindowError(f"the window has more than {MAX_STEPS} steps: use a longer step, or a shorter window")
    return found


def _next(at: int, unit: Calendar) -> int:
    """The first border after `at`."""
    if unit == "hour":
        return at - at % HOUR + HOUR
    midnight = at - at % _DAY
    if unit == "day":
        return midnight + _DAY
    day = _date(midnight)
    if unit == "week":
        return midnight + (7 - (day.weekday() + 1) % 7) * _DAY
    months = 1 if unit == "month" else 3 - (day.month - 1) % 3
    month = day.month - 1 + months
    return _seconds(dt.date(day.year + month // 12, month % 12 + 1, 1))


def _date(midnight: int) -> dt.date:
    return dt.datetime.fromtimestamp(midnight, dt.UTC).date()


def _seconds(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())
