"""The one sentence of a budget: in its status, in a refusal, in a warning. At most 256 characters."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from carbonbudget_operator.budgets.evaluate import Verdict
from carbonbudget_operator.budgets.quantity import format_mass

MAX_MESSAGE = 256


def describe(name: str, limit_ug: int, verdict: Verdict, zone: ZoneInfo, contact: str) -> str:
    """ "carbon budget monthly: used 4.1kg of 5kg CO2e (82 %), resets 2026-12-01; ask #ml-platform"."""
    text = (
        f"carbon budget {name}: used {format_mass(verdict.used_ug)} of {format_mass(limit_ug)} CO2e "
        f"({verdict.percent(limit_ug)} %), resets {format_instant(verdict.period.end, zone)}"
    )
    if contact:
        text += f"; ask {contact}"
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."


def format_instant(at: int, zone: ZoneInfo) -> str:
    """A local midnight as its date, anything else as local time with its zone."""
    local = dt.datetime.fromtimestamp(at, zone)
    if local.time() == dt.time.min:
        return local.strftime("%Y-%m-%d")
    return local.strftime("%Y-%m-%d %H:%M ") + (local.tzname() or "")
