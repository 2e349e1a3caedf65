"""Times as the API server writes them."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache


@lru_cache(4096)  # a thousand budgets share the ends of periods, and each formats some fifteen times
def format_time(at: int) -> str:
    """UTC seconds as "2026-11-23T18:53:20Z"."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(at: dt.datetime) -> int:
    """UTC seconds; a time without an offset is UTC."""
    return int((at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC)).timestamp())


def instant(text: object) -> float | None:
    """UTC seconds of an instant in a status; None if it is none."""
    try:
        return dt.datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None
