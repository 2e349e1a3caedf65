"""A target as the page shows it, whoever read it: `/api/v1/targets`, or the object in the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.budgets.quantity import format_energy, format_mass, format_pair
from carbonbudget_operator.web.views.answer_figures import units_text
from carbonbudget_operator.web.views.page_states import ShownState
from carbonbudget_operator.web.views.page_target_history import PageSavings, PageWindow, summed_savings
from carbonbudget_operator.web.views.zoned_times import zoned_day, zoned_near

_WINDOWS: Final = {"Day": "24 hours", "Week": "7 days", "Month": "28 days"}


@dataclass(frozen=True, slots=True)
class PageTarget(ShownState):
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
        """The target's kind."""
        return "CarbonTarget" if self.namespace else "ClusterCarbonTarget"

    @property
    def address(self) -> str:
        """The target's address on the page. Names of Kubernetes need no quoting; templates escape it nevertheless."""
        return f"/targets/{self.namespace}/{self.name}" if self.namespace else f"/cluster-targets/{self.name}"

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
        return summed_savings([one.savings for one in self.history if one.savings is not None])

    def at(self, second: int | None) -> str:
        """An instant in the target's own zone; empty for none. Without the year where it can be no other."""
        return zoned_near(second, self.time_zone, self.data_through or self.current_end or 0)

    def day(self, second: int | None) -> str:
        """The day of an instant in the target's own zone: "1 Mar 2027"; empty for none."""
        return zoned_day(second, self.time_zone)

    def _beside(self, mine_ug: int | None, other_ug: int | None) -> str:
        if mine_ug is None:
            return ""
        return format_mass(mine_ug) if other_ug is None else format_pair(mine_ug, other_ug)[0]


def targets_in_order(targets: Iterable[PageTarget]) -> list[PageTarget]:
    """Violated ones first, then by state, then by name."""
    return sorted(targets, key=lambda one: (one.state_order, one.namespace, one.name))
