"""Times as the API server writes them."""

from __future__ import annotations

import datetime as dt


def format_time(at: int) -> str:
    """UTC seconds as "2026-11-23T18:53:20Z"."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat()[:19] + "Z"  # strftime takes five times as long


def seconds(at: dt.datetime) -> int:
    """UTC seconds; a time without an offset is UTC."""
    return int((at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC)).timestamp())
