"""Reporting periods by name: a year, quarter, month, ISO week or day, in UTC. Pure."""

from __future__ import annotations

import datetime as dt
import re


class SpanError(ValueError):
    """A name of no period; one line says what to write."""


def parse_span(text: str) -> tuple[int, int]:
    """[start, end) in UTC seconds of 2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15. Raises SpanError."""
    try:
        start, end = _days(text)
    except (ValueError, OverflowError):
        raise SpanError(f"{text!r} is no period: write 2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15") from None
    return _midnight(start), _midnight(end)


def _days(text: str) -> tuple[dt.date, dt.date]:
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
