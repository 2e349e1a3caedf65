"""A budget as the page shows it, whoever read it: `/api/v1/budgets`, or the object in the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.budgets.quantity import exact_mass, format_beside, format_mass, format_percent
from carbonbudget_operator.web.views.page_adjustments import PageAdjustment, PageChildren
from carbonbudget_operator.web.views.page_states import ShownState
from carbonbudget_operator.web.views.zoned_times import zoned_near

_PARTS: Final = (
    ("dynamic", "follows the pods' use"),
    ("idle", "their share of idle energy"),
    ("overhead", "their share of the system"),
    ("embodied", "making the hardware"),
)


@dataclass(frozen=True, slots=True)
class PageWorkload:
    """A workload that used much. `namespace` is empty where it is the budget's."""

    namespace: str
    kind: str
    name: str
    emissions: str
    percent: int | None
    state: str = ""


@dataclass(frozen=True, slots=True)
class PagePeriod:
    """A period that is over."""

    start: int
    end: int
    used_ug: int
    limit_ug: int


@dataclass(frozen=True, slots=True)
class PageBudget(ShownState):
    """Instants are UTC seconds, masses micrograms of CO2e, and None is what is not known."""

    namespace: str  # empty for a ClusterCarbonBudget
    name: str
    limit_ug: int  # 0 where it cannot be read
    limit_known: bool = True
    accounting: str = "LocationBased"
    per_workload: bool = False
    time_zone: str = "UTC"
    used_ug: int | None = None
    percent: int | None = None
    forecast_ug: int | None = None
    exhausted_at: int | None = None
    state: str = ""
    action: str = ""
    blocks_until: int | None = None
    suspends_from: int | None = None
    start: int | None = None
    end: int | None = None
    data_through: int | None = None
    coverage: int | None = None
    measured: int | None = None
    message: str = ""
    contact: str = ""
    parts: Sequence[tuple[str, str]] = ()  # name and mass
    workloads: Sequence[PageWorkload] = ()
    history: Sequence[PagePeriod] = ()  # oldest first
    troubles: Sequence[str] = ()
    sections: Sequence[tuple[str, Sequence[str]]] = ()  # of `kubectl carbon explain`
    base_limit_ug: int | None = None  # without adjustments
    adjustments: Sequence[PageAdjustment] = ()  # in the order of booking
    parent: str = ""  # a ClusterCarbonBudget
    children: PageChildren | None = None

    @property
    def kind(self) -> str:
        """The budget's kind."""
        return "CarbonBudget" if self.namespace else "ClusterCarbonBudget"

    @property
    def path(self) -> str:
        """The budget's address on the page. Names of Kubernetes need no quoting; templates escape it nevertheless."""
        return f"/budgets/{self.namespace}/{self.name}" if self.namespace else f"/cluster-budgets/{self.name}"

    def effect(self, now: int) -> str:
        """What is in force because of it at the UTC second `now`; empty for nothing."""
        if self.blocks_until is None or now >= self.blocks_until:
            return ""
        return "Suspends Jobs" if self.suspends_from is not None else "Refuses new work"

    @property
    def used(self) -> str:
        """Use, with as many digits as it takes to see on which side of the limit it is."""
        return "" if self.used_ug is None else format_beside(self.used_ug, self.limit_ug)

    @property
    def limit(self) -> str:
        """The limit, exact."""
        return exact_mass(self.limit_ug) if self.limit_known else "a limit that cannot be read"

    @property
    def base_limit(self) -> str:
        """The limit without adjustments, exact; empty where nothing changed it."""
        if not self.adjustments or self.base_limit_ug is None:
            return ""
        return exact_mass(self.base_limit_ug)

    @property
    def forecast(self) -> str:
        """The forecast; empty for none."""
        return "" if self.forecast_ug is None else format_mass(self.forecast_ug)

    @property
    def percent_text(self) -> str:
        """ "83 %"; empty where it is not known."""
        return "" if self.percent is None else f"{format_percent(self.percent, self.used_ug or 0)} %"

    @property
    def basis(self) -> str:
        """ "location-based"."""
        return f"{self.accounting.removesuffix('Based').lower()}-based"

    def at(self, second: int | None) -> str:
        """An instant in the budget's own zone; empty for none. Without the year where it can be no other."""
        return zoned_near(second, self.time_zone, self.data_through or self.start or 0)


def in_order(budgets: Iterable[PageBudget], now: int) -> list[PageBudget]:
    """The budgets that block at `now` first, then by state, then the fullest, then by name."""
    return sorted(
        budgets,
        key=lambda one: (
            not one.effect(now), one.state_order, -(one.percent or 0), one.namespace, one.name,
        ),
    )  # fmt: skip


def part_words(name: str) -> str:
    """What a part of the use is."""
    return dict(_PARTS).get(name, name)
