"""Figures of `/api/v1` answers, read without trust in their types, and the texts that the page shows for them. Pure."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Final

from carbonbudget_core.jsons import JsonObject
from carbonbudget_operator.budgets.price import money_text

UNTIL: Final = 253_402_300_800  # the year 10000
_DECIMAL: Final = re.compile(r"[0-9]{1,40}(\.[0-9]{1,12})?")


def amount(row: JsonObject, key: str) -> int | None:
    """An exact amount, which answers have as a string of an integer; None where there is none."""
    value = row.get(key)
    if isinstance(value, str) and len(value) <= 40 and value.removeprefix("-").isdecimal() and value.isascii():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def grams_ug(row: JsonObject, key: str) -> int | None:
    """Micrograms of a number of grams; None where there is none."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
        return None
    return round(value * 1_000_000)


def percent(row: JsonObject, key: str) -> int | None:
    """A percentage; None where it is not known."""
    value = row.get(key)
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def word(row: JsonObject, key: str) -> str:
    """A text; empty for anything else."""
    value = row.get(key)
    return value if isinstance(value, str) else ""


def second(row: JsonObject, key: str) -> int | None:
    """The UTC second of an RFC 3339 instant; None for anything else."""
    try:
        found = dt.datetime.fromisoformat(word(row, key))
        value = int((found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
    return value if 0 <= value < UNTIL else None


def units_text(units: str) -> str:
    """A decimal number with its thousands apart; any other text as it is."""
    if not _DECIMAL.fullmatch(units):
        return units
    whole, point, rest = units.partition(".")
    return f"{int(whole):,}{point}{rest}"


def utc_text(at: int | None) -> str:
    """ "29 Nov 2026 18:00 UTC"; empty for none."""
    if at is None:
        return ""
    found = dt.datetime.fromtimestamp(at, dt.UTC)
    return f"{found.day} {found:%b %Y %H:%M} UTC"


def date_text(at: int) -> str:
    """ "29 Nov 2026", UTC."""
    found = dt.datetime.fromtimestamp(at, dt.UTC)
    return f"{found.day} {found:%b %Y}"


def cost_text(row: JsonObject, key: str, currency: str) -> str:
    """ "12.40 EUR"; empty without a price."""
    value = row.get(key)
    if not currency or isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
        return ""
    return money_text(Decimal(str(value)), currency[:3])


def share_text(part: int, whole: int) -> str:
    """The share in per cent with one decimal below ten: "7.5 %", "43 %"."""
    if whole <= 0:
        return ""
    tenths = part * 1000 // whole
    if part > 0 and tenths == 0:
        return "<0.1 %"
    return f"{tenths // 10} %" if tenths >= 100 else f"{tenths / 10:.1f} %"


def change_text(now: int, before: int | None) -> str:
    """The change against the window before: "+12 %", "new", or empty where that is not known."""
    if before is None:
        return ""
    if before <= 0:
        return "new" if now > 0 else ""
    change = (now - before) * 100 / before
    if abs(change) < 0.5:
        return "±0 %"
    return f"{change:+.0f} %" if abs(change) < 1000 else f"{now / before:.0f} times"


def counted_pods(namespace: str, selector: str, spaces: str) -> str:
    """Whose emissions count. `selector` and `spaces` are selectors of labels, empty where all do."""
    pods = f"pods with labels {selector}" if selector else "all pods"
    several = f"namespaces with labels {spaces}" if spaces else "all namespaces"
    return f"{pods} in {f'namespace {namespace}' if namespace else several}"
