"""The units that a time range is divided into: months, thirds of months, days, quarters of days, hours. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b

from carbonbudget_operator.ledger.stored_units import (
    DAYS,
    HOURS,
    LEVELS,
    MONTHS,
    NAMESPACE_DAYS,
    QUARTERS,
    THIRDS,
)
from carbonbudget_operator.ledger.time_slices import HOUR

DAY = 24 * HOUR
_LENGTHS = {HOURS: HOUR, QUARTERS: 6 * HOUR, DAYS: DAY, NAMESPACE_DAYS: DAY}
Key = tuple[int, int]  # level and start


def unit_of(at: int, level: int) -> int:
    """The start of the unit of that level that the UTC second lies in."""
    length = _LENGTHS.get(level)
    return at - at % length if length else _calendar_unit(at - at % DAY, level)


@lru_cache(4096)
def _calendar_unit(midnight: int, level: int) -> int:
    day = dt.datetime.fromtimestamp(midnight, dt.UTC)
    first = 1 if level == MONTHS else min(21, (day.day - 1) // 10 * 10 + 1)
    return int(dt.datetime(day.year, day.month, first, tzinfo=dt.UTC).timestamp())


def unit_end(start: int, level: int) -> int:
    """Where a unit ends."""
    if level in _LENGTHS:
        return start + _LENGTHS[level]
    day = dt.datetime.fromtimestamp(start, dt.UTC)
    if level == THIRDS and day.day < 21:
        return start + 10 * DAY
    return int(dt.datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=dt.UTC).timestamp())


def signatures(revisions: Mapping[int, int]) -> dict[Key, str]:
    """The signature that each unit must have to agree with the present facts of its hours."""
    parts: dict[Key, list[str]] = {}
    for hour, revision in sorted(revisions.items()):
        for level in LEVELS:
            parts.setdefault((level, unit_of(hour, level)), []).append(f"{hour}:{revision}")
    return {
        key: texts[0] if key[0] == HOURS else blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()
        for key, texts in parts.items()
    }


def plan_units(start: int, end: int, hours: Iterable[int], valid: Mapping[Key, str]) -> list[Key]:
    """The fewest units that cover the hours of [start, end): the longest valid ones, and hours for the rest."""
    found: list[Key] = []
    covered = start
    for hour in hours:
        if hour + HOUR <= covered:
            continue
        for level in reversed(LEVELS):
            at = unit_of(hour, level)
            if level == HOURS or (at >= covered and unit_end(at, level) <= end and (level, at) in valid):
                found.append((level, at))
                covered = unit_end(at, level)
                break
    return found
