"""Formats instants, selectors, masses and lists as words for the command line. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.api.times import format_time, seconds
from carbonbudget_operator.budgets.budget_sentence import format_instant, format_minute
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass


def at(budget: AnyBudget, instant: dt.datetime | None) -> str:
    """An instant in the budget's own time zone, as its message has it; empty for none."""
    return _in_zone(instant, budget.spec.time_zone, format_instant)


def minute_in(instant: dt.datetime | None, time_zone: str) -> str:
    """An instant as a column of a table has it: local time with its zone, also at midnight; empty for none."""
    return _in_zone(instant, time_zone, format_minute)


def _in_zone(instant: dt.datetime | None, time_zone: str, written: Callable[[int, ZoneInfo], str]) -> str:
    if instant is None:
        return ""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo("UTC")  # the budget's condition Ready says what is wrong with it
    try:
        return written(seconds(instant), zone)
    except (OverflowError, ValueError, OSError):  # beyond the years of calendars: as it is written
        return instant.isoformat()


def instant_of(instant: dt.datetime | None) -> str | None:
    """An instant as machines read it, in UTC."""
    if instant is None:
        return None
    try:
        return format_time(seconds(instant))
    except (OverflowError, ValueError, OSError):  # beyond the years of calendars: as it is written
        return instant.isoformat()


def utc(instant: dt.datetime) -> dt.datetime:
    """An instant to compare; one without an offset is UTC."""
    return instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)


def listed(parts: Sequence[str], word: str = "and") -> str:
    """ "a, b and c"."""
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}" if len(parts) > 1 else "".join(parts)


def labels(selector: Mapping[str, object]) -> str:
    """ "app=web, tier in (a, b), !canary", as kubectl writes selectors."""
    exact, expressions = selector["matchLabels"], selector["matchExpressions"]
    assert isinstance(exact, dict)
    assert isinstance(expressions, list)
    parts = [f"{key}={value}" for key, value in exact.items()]
    for one in expressions:
        values = f"({', '.join(one['values'])})"
        parts.append(
            {
                "In": f"{one['key']} in {values}",
                "NotIn": f"{one['key']} notin {values}",
                "Exists": one["key"],
                "DoesNotExist": f"!{one['key']}",
            }[one["operator"]]
        )
    return "labels " + ", ".join(parts) if parts else "any labels"


def micrograms(mass: str) -> int:
    """The micrograms of a mass as a status has it; 0 for what is none."""
    try:
        return parse_mass(mass)
    except QuantityError:
        return 0
