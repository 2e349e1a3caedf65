"""The sentence about a target in its status, Events and the gate. At most 256 characters."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from zoneinfo import ZoneInfo

from carbonbudget_operator.budgets.budget_sentence import format_instant
from carbonbudget_operator.budgets.quantity import format_mass, format_pair
from carbonbudget_operator.printable import printable
from carbonbudget_operator.targets.target_verdict import TargetState, TargetVerdict, change_percent, fall_percent

_MAX_MESSAGE = 256
_MAX_NAME = 60
_LEAST_REASON = 60
_AS_OF = ", as of "


@dataclass(frozen=True, slots=True)
class TargetSubject:
    """The names and terms that a target's sentence uses. `by`: when the whole reduction is to be reached."""

    name: str
    unit: str
    per: int
    zone: ZoneInfo
    percent: int
    by: int
    cluster: bool = False
    efficiency: bool = False
    market: bool = False

    @property
    def per_unit(self) -> str:
        """ "per 1,000,000 token", or "per token"."""
        unit = printable(self.unit, 32)
        return f"per {unit}" if self.per == 1 else f"per {self.per:,} {unit}"


def describe_target(subject: TargetSubject, verdict: TargetVerdict, baseline_ug: Fraction | None, as_of: int) -> str:
    """ "carbon target chatbot: Behind, 39.1g CO2e per 1,000,000 token (-8.2 %), expected 38.4g (-9.8 %), -20 % by
    2027-03-01; location-based, as of 2026-11-24 13:00 UTC".

    `as_of`: the end of the window (UTC seconds), 0 where there is none.
    """
    kind = "cluster carbon target" if subject.cluster else "carbon target"
    name = subject.name if len(subject.name) <= _MAX_NAME else subject.name[: _MAX_NAME - 3] + "..."
    start, end = f"{kind} {name}: ", f"; {'market' if subject.market else 'location'}-based"
    if as_of:
        end += f"{_AS_OF}{format_instant(as_of, subject.zone)}"
    # A reason is cut where the rest leaves no room for it, and nowhere else.
    figures = _figures(subject, verdict, baseline_ug, _MAX_MESSAGE - len(start) - len(end))
    return (start + figures + end)[:_MAX_MESSAGE]


def without_time(message: str) -> str:
    """A sentence of `describe_target` without its "as of": it changes only if a figure or the state does."""
    return message.partition(_AS_OF)[0]


def shown_rates(compared: Fraction, expected: Fraction) -> tuple[str, str]:
    """Both as masses, with as many digits as it takes to show which is more."""
    return format_pair(int(compared), int(expected))


def _figures(subject: TargetSubject, verdict: TargetVerdict, baseline_ug: Fraction | None, room: int) -> str:
    if verdict.state is TargetState.NO_DATA:
        known = f"; last window {format_mass(int(verdict.current))} CO2e {subject.per_unit}" if verdict.current else ""
        room -= len(f"NoData, {known}")
        return f"NoData, {printable(verdict.reason, max(room, _LEAST_REASON))}{known}"
    assert verdict.compared is not None  # every other state has all of them
    assert verdict.expected is not None
    assert verdict.reduction is not None
    assert baseline_ug is not None
    shown, expected = shown_rates(verdict.compared, verdict.expected)
    grid = " at the baseline's grid" if subject.efficiency else ""
    change = change_percent(verdict.compared, baseline_ug)
    return (
        f"{verdict.state.value}, {shown} CO2e {subject.per_unit}{grid} ({change} %), "
        f"expected {expected} ({fall_percent(verdict.reduction)} %), "
        f"-{subject.percent} % by {format_instant(subject.by, subject.zone)}"
    )
