"""Instants in the zone of a budget or a target, for people. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NEAR_SECONDS: Final = 180 * 86_400


def zoned(second: int, zone: str, with_year: bool = True) -> str:
    """ "30 Nov 2026 14:05 CET", or with the offset where the zone has no short name. UTC for an unknown zone.

    Empty for an instant that the zone's calendar has no year for.
    """
    try:
        found = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        found = ZoneInfo("UTC")
    try:
        at = dt.datetime.fromtimestamp(second, found)
    except (OverflowError, ValueError, OSError):
        return ""
    short = at.tzname() or ""
    year = f" {at.year}" if with_year else ""
    return f"{at.day} {at:%b}{year} {at:%H:%M} {short if short.isalpha() else f'UTC{short}'}"


def zoned_near(second: int | None, zone: str, now: int) -> str:
    """A zoned time, without the year if it is within half a year of `now`. Empty for none."""
    return "" if second is None else zoned(second, zone, with_year=abs(second - now) >= _NEAR_SECONDS)


def zoned_day(second: int | None, zone: str) -> str:
    """The day of an instant: "1 Mar 2027"; empty for none."""
    return "" if second is None else " ".join(zoned(second, zone).split()[:3])
