"""How the commands state the span of time that an answer covers, and that a span has not begun. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

CSV_COVERS: Final = ("covers_from", "covers_to")


def covers_line(result: Mapping[str, Any], asked: tuple[int, int]) -> str:
    """One line: what is covered, and why that is more than the [start, end) that was asked for, if it is."""
    span = _span(result)
    if span is None:
        return "covers: the server is of an earlier version and does not state it: a part of an hour is shared pro rata"
    said = f"covers {date_of(span[0])} to {date_of(span[1])}"
    if span == asked:
        return said
    wanted = " to ".join(map(date_of, asked))
    return f"{said}: the span asked for, {wanted}, is rounded outward, because use is known by the hour"


def csv_covers(result: Mapping[str, Any]) -> tuple[str, str]:
    """The covered span as two cells, ISO 8601 in UTC; empty where it is not stated."""
    span = _span(result)
    return ("", "") if span is None else (_iso(span[0]), _iso(span[1]))


def future_sentence(start: int, now: int) -> str:
    """Why there is no answer where the span begins in the future, UTC seconds; empty where it does not."""
    return f"the period begins at {date_of(start)}, which is in the future; no data" if start > now else ""


def date_of(seconds: int) -> str:
    """UTC seconds as people read them; with seconds only where there are any."""
    return _formatted(seconds, "%Y-%m-%d %H:%M:%S UTC" if seconds % 60 else "%Y-%m-%d %H:%M UTC")


def _span(result: Mapping[str, Any]) -> tuple[int, int] | None:
    found = result.get("covers")
    if not isinstance(found, Mapping) or not all(type(found.get(key)) is int for key in ("from", "to")):
        return None
    return found["from"], found["to"]


def _iso(seconds: int) -> str:
    return _formatted(seconds, "%Y-%m-%dT%H:%M:%SZ")


def _formatted(seconds: int, form: str) -> str:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime(form)
    except (ValueError, OverflowError, OSError):  # before the year 1 or after 9999, where calendars end
        return f"{seconds} s after 1970-01-01 UTC"
