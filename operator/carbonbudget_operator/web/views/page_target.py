"""A target as the page shows it, whoever read it: `/api/v1/targets`, or the object in the cluster. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from carbonbudget_operator.budgets.price import money_text
from carbonbudget_operator.budgets.quantity import format_energy, format_mass, format_pair
from carbonbudget_operator.web.views.page_budget import zoned

_STATES: Final = {
    "OnTrack": ("On track", "within"),
    "Achieved": ("Achieved", "within"),
    "Behind": ("Behind", "warning"),
    "Violated": ("Violated", "exceeded"),
}
_ORDER: Final = ("exceeded", "warning", "unknown", "within")
_WINDOWS: Final = {"Day": "24 hours", "Week": "7 days", "Month": "28 days"}
_NEAR_SECONDS: Final = 180 * 86_400
_NUMBER: Final = re.compile(r"[0-9]{1,40}(\.[0-9]{1,12})?")
_MONEY: Final = re.compile(r"(-?[0-9][0-9,]{0,40}\.[0-9]{1,12}) ([A-Z]{3})")


@dataclass(frozen=True, slots=True)
class PageSavings:
    """What a window saved against the baseline, at the baseline's grid; negative: it emitted more."""

    micrograms: int
    microjoules: int = 0
    absolute_fall_ug: int | None = None
    money: str = ""

    @property
    def mass(self) -> str:
        """ "1.2kg", with a minus where more was emitted."""
        return format_mass(self.micrograms)

    @property
    def energy(self) -> str:
        """ "3.20 kWh"."""
        size = format_energy(abs(self.microjoules))
        return f"-{size}" if self.microjoules < 0 else size


@dataclass(frozen=True, slots=True)
class PageWindow:
    """A window that is over: what it emitted per unit, and what the path asked for at its end."""

    start: int
    end: int
    per_unit_ug: int
    expected_ug: int | None = None
    state: str = ""
    units: str = ""
    hours_percent: int | None = None
    savings: PageSavings | None = None

    @property
    def per_unit(self) -> str:
        """Its figure."""
        return format_mass(self.per_unit_ug)

    @property
    def expected(self) -> str:
        """What the path asked for; empty where that is not known."""
        return "" if self.expected_ug is None else format_mass(self.expected_ug)

    @property
    def units_text(self) -> str:
        """ "91,250,000"; empty where they are not known."""
        return units_text(self.units)

    @property
    def state_word(self) -> str:
        """Its state for people."""
        return state_word(self.state)

    @property
    def state_class(self) -> str:
        """Its state for the style sheet and the icon."""
        return state_class(self.state)


@dataclass(frozen=True, slots=True)
class PageTarget:
    """Instants are UTC seconds, masses micrograms of CO2e per `per` units, and None is what is not known."""

    namespace: str  # empty for a ClusterCarbonTarget
    name: str
    unit: str = ""
    per: int = 1
    window: str = "Week"
    time_zone: str = "UTC"
    basis: str = "Total"
    accounting: str = "LocationBased"
    reduction: int | None = None  # per cent of the baseline
    by: int | None = None
    tolerance: int | None = None
    state: str = ""
    message: str = ""
    current_ug: int | None = None
    current_start: int | None = None
    current_end: int | None = None
    units: str = ""
    emissions_ug: int | None = None
    energy_uj: int | None = None
    hours_percent: int | None = None
    measured: int | None = None
    coverage: int | None = None
    at_baseline_grid: str = ""
    expected_ug: int | None = None
    baseline_ug: int | None = None
    baseline_start: int | None = None
    baseline_end: int | None = None
    created: int | None = None
    baseline_restated: str = ""
    change: str = ""
    data_through: int | None = None
    path: str = "Linear"
    steps: Sequence[tuple[int, int]] = ()  # (from then on, per cent of the baseline), in order of time
    counts: Sequence[str] = ()  # sentences: which pods, who counts the units
    conditions: Sequence[tuple[str, str, str]] = ()  # type, status and what it says
    history: Sequence[PageWindow] = ()  # oldest first

    @property
    def kind(self) -> str:
        """Its kind."""
        return "CarbonTarget" if self.namespace else "ClusterCarbonTarget"

    @property
    def address(self) -> str:
        """Its address on the page. Names of Kubernetes need no quoting; templates escape it nevertheless."""
        return f"/targets/{self.namespace}/{self.name}" if self.namespace else f"/cluster-targets/{self.name}"

    @property
    def state_word(self) -> str:
        """Its state for people."""
        return state_word(self.state)

    @property
    def state_class(self) -> str:
        """Its state for the style sheet and the icon."""
        return state_class(self.state)

    @property
    def per_words(self) -> str:
        """ "per 1,000,000 token", or "per token"."""
        unit = self.unit or "unit"
        return f"per {unit}" if self.per == 1 else f"per {self.per:,} {unit}"

    @property
    def window_words(self) -> str:
        """ "7 days"."""
        return _WINDOWS.get(self.window, self.window)

    @property
    def current(self) -> str:
        """The figure, with as many digits as it takes to see on which side of the path it is; empty for none."""
        return self._beside(self.current_ug, self.expected_ug)

    @property
    def expected(self) -> str:
        """What the path asks for now; empty for none."""
        return self._beside(self.expected_ug, self.current_ug)

    @property
    def expected_reduction(self) -> str:
        """By how many per cent of the baseline the path is down now, with one decimal; empty where it is not known."""
        if self.expected_ug is None or not self.baseline_ug:
            return ""
        return f"{(self.baseline_ug - self.expected_ug) * 100 / self.baseline_ug:.1f}"

    @property
    def baseline(self) -> str:
        """The baseline; empty while it is not known."""
        return "" if self.baseline_ug is None else format_mass(self.baseline_ug)

    @property
    def goal_ug(self) -> int | None:
        """Micrograms per unit with the whole reduction; None while the baseline is not known."""
        if self.baseline_ug is None or self.reduction is None:
            return None
        return self.baseline_ug * (100 - self.reduction) // 100

    @property
    def units_text(self) -> str:
        """ "91,250,000"; empty where they are not known."""
        return units_text(self.units)

    @property
    def change_text(self) -> str:
        """ "-11.4 %" or "+2.0 %"; empty where it is not known."""
        sign = "" if not self.change or self.change.startswith(("-", "+", "0.0")) else "+"
        return f"{sign}{self.change} %" if self.change else ""

    @property
    def emissions(self) -> str:
        """CO2e of the window; empty for none."""
        return "" if self.emissions_ug is None else format_mass(self.emissions_ug)

    @property
    def energy(self) -> str:
        """Energy of the window; empty for none."""
        return "" if self.energy_uj is None else format_energy(self.energy_uj)

    @property
    def basis_words(self) -> str:
        """What is compared with the path."""
        if self.basis == "Efficiency":
            return "the same energy at the baseline's grid"
        return f"what was emitted, {self.accounting.removesuffix('Based').lower()}-based"

    @property
    def saved(self) -> PageSavings | None:
        """What the windows of the history saved together; None where none is known."""
        known = [one.savings for one in self.history if one.savings is not None]
        if not known:
            return None
        return PageSavings(
            sum(one.micrograms for one in known), sum(one.microjoules for one in known),
            money=_summed([one.money for one in known]),
        )  # fmt: skip

    def at(self, second: int | None) -> str:
        """An instant in the target's own zone; empty for none. Without the year where it can be no other."""
        if second is None:
            return ""
        near = abs(second - (self.data_through or self.current_end or 0)) < _NEAR_SECONDS
        return zoned(second, self.time_zone, with_year=not near)

    def day(self, second: int | None) -> str:
        """The day of an instant in the target's own zone: "1 Mar 2027"; empty for none."""
        return "" if second is None else " ".join(zoned(second, self.time_zone).split()[:3])

    def _beside(self, mine_ug: int | None, other_ug: int | None) -> str:
        if mine_ug is None:
            return ""
        return format_mass(mine_ug) if other_ug is None else format_pair(mine_ug, other_ug)[0]


def units_text(units: str) -> str:
    """A decimal number with its thousands apart; any other text as it is."""
    if not _NUMBER.fullmatch(units):
        return units
    whole, point, rest = units.partition(".")
    return f"{int(whole):,}{point}{rest}"


def _summed(amounts: Sequence[str]) -> str:
    """The sum of amounts such as "12.40 EUR"; empty unless all of them have one currency."""
    read = [_MONEY.fullmatch(one) for one in amounts]
    if not read or any(one is None for one in read) or len({one[2] for one in read if one}) > 1:
        return ""
    total = sum((Decimal(one[1].replace(",", "")) for one in read if one), Decimal(0))
    return money_text(total, next(one[2] for one in read if one))


def state_word(state: str) -> str:
    """A target's state for people."""
    return _STATES.get(state, ("No data", ""))[0]


def state_class(state: str) -> str:
    """A target's state for the style sheet and the icon."""
    return _STATES.get(state, ("", "unknown"))[1]


def targets_in_order(targets: Iterable[PageTarget]) -> list[PageTarget]:
    """Violated ones first, then by state, then by name."""
    return sorted(targets, key=lambda one: (_ORDER.index(one.state_class), one.namespace, one.name))


def path_points(target: PageTarget) -> list[tuple[int, int]]:
    """The corners (UTC second, micrograms per unit) of what the path asks for, until the whole reduction is due.

    Empty while the baseline is not known.
    """
    start = target.baseline_end if target.baseline_end is not None else target.created
    goal_ug, baseline_ug, by = target.goal_ug, target.baseline_ug, target.by
    if start is None or by is None or goal_ug is None or baseline_ug is None or by <= start:
        return []
    if target.path == "Stepped" and not target.steps:
        return []  # a server that does not state them
    if target.path == "Linear":
        return [(start, baseline_ug), (by, goal_ug)]
    steps = [
        (at, baseline_ug * (100 - percent) // 100)
        for at, percent in (target.steps if target.path == "Stepped" else ())
        if at < by
    ]
    level_ug = next((step_ug for at, step_ug in reversed(steps) if at <= start), baseline_ug)
    corners = [(start, level_ug)]
    for at, step_ug in steps:
        if at > start:
            corners += [(at, level_ug), (at, step_ug)]
            level_ug = step_ug
    return [*corners, (by, level_ug), (by, goal_ug)]
