"""Valued rows grouped into OpenCost's allocation sets: one set for each step of the window. Pure.

A figure is the same as in /api/v1/emissions: a row has the idle energy and overhead that it is charged with. What
nobody is charged with is `__idle__`, which is a row of its own, is shared out, or is left out. Other energy that
belongs to no pod is `__unallocated__`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, Self

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.budgets.price import Price
from carbonbudget_operator.ledger.valued_rows import (
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedRow,
)
from carbonbudget_operator.opencost.allocation_properties import IDLE, AllocationProperties, key_function, properties_of
from carbonbudget_operator.opencost.request_parameters import AllocationRequest

_IDLE_COLUMN: Final = LOCATION_UG.start + 1


@dataclass(slots=True)
class AllocationFigures:
    """Sums, in microjoules and micrograms of CO2 equivalent. `idle_ug` is the part of `location_ug` that is idle.

    Costs are in the parts of `budgets.price`, by the price of the range that the rows were read from.
    """

    energy_uj: int = 0
    metered_uj: int = 0
    location_ug: int = 0
    market_ug: int = 0
    embodied_ug: int = 0
    idle_ug: int = 0
    energy_cost: int = 0
    location_cost: int = 0

    @classmethod
    def of(cls, figures: list[int]) -> Self:
        """The figures of a row whose components are apart."""
        return cls(
            sum(figures[ENERGY_UJ]), figures[METERED_UJ], sum(figures[LOCATION_UG]), sum(figures[MARKET_UG]),
            figures[EMBODIED_UG], figures[_IDLE_COLUMN],
        )  # fmt: skip

    def add(self, more: AllocationFigures) -> None:
        """Add the other sums to these."""
        self.energy_uj += more.energy_uj
        self.metered_uj += more.metered_uj
        self.location_ug += more.location_ug
        self.market_ug += more.market_ug
        self.embodied_ug += more.embodied_ug
        self.idle_ug += more.idle_ug
        self.energy_cost += more.energy_cost
        self.location_cost += more.location_cost

    def set_cost(self, price: Price) -> None:
        """The costs of these sums, all of whose hours have this price."""
        self.energy_cost, self.location_cost = price.of_energy(self.energy_uj), price.of_emissions(self.location_ug)

    @property
    def measured_percent(self) -> int:
        """Share of the energy that a meter measured, rounded down; 0 without energy."""
        return self.metered_uj * 100 // self.energy_uj if self.energy_uj else 0


@dataclass(slots=True)
class Allocation:
    """One entry of a set. `common` are the properties that all its rows have; what differs is empty."""

    common: AllocationProperties
    figures: AllocationFigures


Allocations = dict[str, Allocation]
_Placed = tuple[str, AllocationProperties]


class TooManyAllocations(ValueError):
    """More groups than an answer may have."""


class SetBuilder:
    """Groups rows as one request asks for. `most` is how many allocations all sets together may have."""

    def __init__(self, request: AllocationRequest, cluster: str, most: int) -> None:
        self._request, self._cluster, self._left = request, cluster, most
        self._name: Callable[[AllocationProperties], str] = key_function(request.keys)
        self._needs_labels = request.by_label or request.with_labels
        self._known: dict[tuple[str, str, str], _Placed | None] = {}

    def build(
        self, ranges: Iterable[Iterable[ValuedRow]], prices: Iterable[Price | None] = repeat(None)
    ) -> Allocations:
        """One set, of the rows of its ranges; the idle row is shared out in each of them for itself.

        `prices`: that of each range.

        Raises:
            TooManyAllocations: with this set there are more than `most`.
        """
        whole: Allocations = {}
        for rows, price in zip(ranges, prices, strict=False):
            for name, found in self._range(rows).items():
                if price is not None:
                    found.figures.set_cost(price)
                self._put(whole, name, found)
        if not self._request.include_idle:
            whole.pop(IDLE, None)
        self._left -= len(whole)
        if self._left < 0:
            raise TooManyAllocations
        return self._page(whole)

    def _range(self, rows: Iterable[ValuedRow]) -> Allocations:
        found: Allocations = {}
        if self._request.share_idle:
            rows = sorted(rows, key=_order)
            shares = _idle_shares(rows)
        else:
            shares = None
        for index, row in enumerate(rows):
            figures = AllocationFigures.of(row.figures)
            if shares is not None:
                if row.namespace == IDLE:
                    continue
                figures.add(shares[index])
            placed = self._placed(row)
            if placed is not None:
                self._put(found, placed[0], Allocation(placed[1], figures))
        return found

    def _placed(self, row: ValuedRow) -> _Placed | None:
        """The name and the properties of the row's allocation; None where the filter leaves it out."""
        if self._needs_labels:
            return self._place(row, row.labels)
        key = (row.namespace, row.workload, row.node)
        if key not in self._known:  # the same in every step
            self._known[key] = self._place(row, {})
        return self._known[key]

    def _place(self, row: ValuedRow, labels: Mapping[str, str]) -> _Placed | None:
        properties = self._properties(row, labels)
        return (self._name(properties), properties) if self._request.matching.matches(properties) else None

    def _put(self, into: Allocations, name: str, more: Allocation) -> None:
        known = into.get(name)
        if known is None:
            if len(into) > self._left:  # one more is room for the idle row, which may be left out
                raise TooManyAllocations
            into[name] = more
            return
        known.figures.add(more.figures)
        if known.common is not more.common:
            known.common = _common(known.common, more.common)

    def _page(self, whole: Allocations) -> Allocations:
        """The largest first, and of these the page that is asked for."""
        ordered = sorted(whole.items(), key=lambda item: (-item[1].figures.location_ug, item[0]))
        first, limit = self._request.offset, self._request.limit
        return dict(ordered[first : None if limit is None else first + limit])

    def _properties(self, row: ValuedRow, labels: Mapping[str, str]) -> AllocationProperties:
        if row.namespace == IDLE:
            return AllocationProperties(self._cluster, row.node, "", "", "", "", {}, idle=True)
        if row.special:
            return AllocationProperties(self._cluster, row.node, "", "", "", "", {})
        workload = "" if self._request.by_namespace else row.workload  # rows of stored days do not have it then
        return properties_of(self._cluster, row.node, row.namespace, workload, labels)


def _order(row: ValuedRow) -> tuple[object, ...]:
    """An order that does not depend on the database's: a filter and its opposite get the parts of the same division."""
    return row.namespace, row.workload, row.node, sorted(row.labels.items()), row.start, row.figures


def _idle_shares(rows: Sequence[ValuedRow]) -> list[AllocationFigures] | None:
    """What each row gets of the idle rows, in proportion to the energy of the pods; None where no pod has any.

    Each part is of rows, not of groups: so that parts of any grouping and filter add up to the whole.
    """
    weights = [0 if row.special else sum(row.figures[ENERGY_UJ]) for row in rows]
    if not any(weights):
        return None
    idle = AllocationFigures()
    for row in rows:
        if row.namespace == IDLE:
            idle.add(AllocationFigures.of(row.figures))
    amounts = (idle.energy_uj, idle.metered_uj, idle.location_ug, idle.market_ug, idle.embodied_ug)
    energy, metered, location, market, embodied = (share_list(amount, weights) for amount in amounts)
    parts = zip(energy, metered, location, market, embodied, location, strict=True)  # all of it is idle
    return [AllocationFigures(*part) for part in parts]


def _common(one: AllocationProperties, other: AllocationProperties) -> AllocationProperties:
    """What both have. It is `one` itself where the other takes nothing away, as after the first few rows of a group."""
    if not one.labels and _within(one, other):
        return one

    def same(first: str, second: str) -> str:
        return first if first == second else ""

    labels = {name: value for name, value in one.labels.items() if other.labels.get(name) == value}
    controller = (one.controller_kind, one.controller) == (other.controller_kind, other.controller)
    return AllocationProperties(
        same(one.cluster, other.cluster), same(one.node, other.node), same(one.namespace, other.namespace),
        same(one.controller_kind, other.controller_kind), one.controller if controller else "",
        same(one.pod, other.pod), labels, one.idle and other.idle,
    )  # fmt: skip


def _within(one: AllocationProperties, other: AllocationProperties) -> bool:
    return (
        one.namespace in ("", other.namespace)
        and one.controller in ("", other.controller)
        and one.controller_kind in ("", other.controller_kind)
        and one.pod in ("", other.pod)
        and one.node in ("", other.node)
        and one.cluster in ("", other.cluster)
        and (other.idle or not one.idle)
    )
