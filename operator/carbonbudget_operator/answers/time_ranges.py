"""Time ranges of questions: periods by name, and the whole hours or parts that an answer covers. Pure.

The ledger does not record when energy was used inside an hour, or inside a part of an hour between two cuts. An answer
to people (allocation, report) therefore covers the whole hours that contain its range. An answer about a run covers
whole parts of hours. Each answer states what it covers. Only a budget has exact borders: its hours are cut there in
advance. Where an hour is not cut, the answer lists the instant under `pro_rata`
(docs/design/2026-11-29-spans-of-questions.md).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from carbonbudget_operator.ledger.time_slices import HOUR, slice_end, slice_start


class TimeRangeError(ValueError):
    """The text names no period. The message is one line with what to write."""


def covered_range(start: int, end: int, cuts: Sequence[int] = ()) -> tuple[int, int]:
    """The shortest range of whole parts that contains [start, end), in UTC seconds; `start` is below `end`.

    A part is an hour; `cuts` (sorted) split it further.
    """
    return slice_start(start, cuts), slice_end(slice_start(end - 1, cuts), cuts)


def whole_hours(start: int, end: int) -> tuple[int, int]:
    """The whole hours inside [start, end): the first one's start and the last one's end; the same where there is none.

    For series by the hour: an hour that is only partly in the range is left out.
    """
    first, last = -(-start // HOUR) * HOUR, end - end % HOUR
    return first, max(first, last)


def covers(span: tuple[int, int]) -> dict[str, int]:
    """What an answer covers, as its JSON states it."""
    return {"from": span[0], "to": span[1]}


def parse_time_range(text: str) -> tuple[int, int]:
    """[start, end) in UTC seconds of 2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15. Raises TimeRangeError."""
    try:
        start, end = _days(text)
    except (ValueError, OverflowError):
        raise TimeRangeError(f"{text!r} is no period: write 2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15") from None
    return _midnight(start), _midnight(end)


def time_range_before(text: str) -> tuple[int, int]:
    """The period of the same kind that ends where this one begins: of 2026-03 it is 2026-02. Raises TimeRangeError."""
    start, _ = parse_time_range(text)
    if start <= 0:
        raise TimeRangeError(f"the period before {text} begins before 1970, where no ledger has data")
    last = dt.datetime.fromtimestamp(start - 1, dt.UTC).date()
    if "W" in text or len(text) == len("2026-01-15"):
        return start - (7 if "W" in text else 1) * 24 * HOUR, start
    months = 3 if "Q" in text else 12 if len(text) == len("2026") else 1
    first = last.replace(day=1)
    return _midnight(first.replace(month=first.month - months + 1)), start


def _days(text: str) -> tuple[dt.date, dt.date]:
    if not text.isascii():  # other digits are digits too: the same period could be closed once more
        raise ValueError(text)
    if re.fullmatch(r"\d{4}", text):
        return dt.date(int(text), 1, 1), dt.date(int(text) + 1, 1, 1)
    if re.fullmatch(r"\d{4}-Q[1-4]", text):
        month = 3 * int(text[-1]) - 2
        return dt.date(int(text[:4]), month, 1), _month_after(int(text[:4]), month + 2)
    if re.fullmatch(r"\d{4}-\d{2}", text):
        return dt.date(int(text[:4]), int(text[5:]), 1), _month_after(int(text[:4]), int(text[5:]))
    if re.fullmatch(r"\d{4}-W\d{2}", text):
        monday = dt.date.fromisocalendar(int(text[:4]), int(text[6:]), 1)
        return monday, monday + dt.timedelta(days=7)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        day = dt.date.fromisoformat(text)
        return day, day + dt.timedelta(days=1)
    raise ValueError(text)


def _month_after(year: int, month: int) -> dt.date:
    return dt.date(year + month // 12, month % 12 + 1, 1)


def _midnight(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())
