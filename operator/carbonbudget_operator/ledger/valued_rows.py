"""Valued rows: the energy and emissions of one pod group in a unit of time. Every answer is a sum of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from carbonbudget_operator.ledger.applied_factors import AppliedFactors
from carbonbudget_operator.special_namespaces import is_special

# Columns of a row's figures: energy, the metered part of it, both ways to count its emissions, embodied
# emissions, the energy of the whole facility (PUE included), and between which figures sources put embodied ones.
DYNAMIC_UJ, IDLE_UJ, OVERHEAD_UJ, METERED_UJ = 0, 1, 2, 3
LOCATION_UG, MARKET_UG = slice(4, 7), slice(7, 10)  # dynamic, idle, overhead
ENERGY_UJ = slice(0, 3)
EMBODIED_UG: Final = 10
FACILITY_UJ: Final = 11
EMBODIED_LOW_UG: Final = 12
EMBODIED_HIGH_UG: Final = 13
# The location-based emissions by what their factor has: direct; upstream of the electricity; a life cycle whose direct
# share is not known (`carbon/basis_split.py`).
DIRECT_UG: Final = 14
UPSTREAM_UG: Final = 15
UNSPLIT_UG: Final = 16
# The part of the market-based emissions for which no market factor is known: the location's figure stands in.
STOOD_IN_UG: Final = 17
# How much of the facility's energy the rows of an inventory cover: its direct factor is known; its upstream one too; it
# has a market factor, or the location's direct one stands in. And what of STOOD_IN_UG is direct and upstream, where
# both are known (`answers/ghg_inventory.py`). Nothing but reports reads them.
DIRECT_UJ: Final = 18
UPSTREAM_UJ: Final = 19
MARKET_UJ: Final = 20
STOOD_IN_DIRECT_UG: Final = 21
STOOD_IN_UPSTREAM_UG: Final = 22
COLUMNS: Final = 23
OF_INVENTORY: Final = range(DIRECT_UJ, COLUMNS)
NAMES: Final = (
    "dynamic_uj", "idle_uj", "overhead_uj", "metered_uj",
    "location_dynamic_ug", "location_idle_ug", "location_overhead_ug",
    "market_dynamic_ug", "market_idle_ug", "market_overhead_ug", "embodied_ug", "facility_uj",
    "embodied_low_ug", "embodied_high_ug", "direct_ug", "upstream_ug", "unsplit_ug",
    "stood_in_ug", "direct_uj", "upstream_uj", "market_uj", "stood_in_direct_ug", "stood_in_upstream_ug",
)  # fmt: skip


@dataclass(slots=True)
class ValuedRow:
    """What one group of pods is charged with in [start, end); a special row's namespace is its name.

    `node` is empty where the row sums up all nodes. `scope` is whose nodes they are. `factors` says which
    figures went into it. A row that is being summed up changes; rows of a unit do not.
    """

    start: int
    end: int
    node: str
    scope: str
    namespace: str
    workload: str
    labels: Mapping[str, str]
    figures: list[int]
    factors: frozenset[str]

    @property
    def special(self) -> bool:
        """Whether it belongs to no pod."""
        return is_special(self.namespace)

    def add(self, figures: Sequence[int], factors: frozenset[str]) -> None:
        """Add figures and the factors that went into them."""
        for column, figure in enumerate(figures):
            self.figures[column] += figure
        if not factors <= self.factors:
            self.factors |= factors


def rows_within(rows: Iterable[ValuedRow], start: int, end: int) -> Iterable[ValuedRow]:
    """The rows of [start, end). A row that is partly inside is divided by time, in whole units.

    Consecutive ranges add up exactly: what one of them rounds down is in the next.
    """
    for row in rows:
        overlap = min(row.end, end) - max(row.start, start)
        length = row.end - row.start
        if overlap == length:
            yield row
        elif overlap > 0:
            begin, until = max(row.start, start), min(row.end, end)
            first, last = begin - row.start, until - row.start
            figures = [figure * last // length - figure * first // length for figure in row.figures]
            yield replace(row, start=begin, end=until, figures=figures)


def sum_rows(rows: Iterable[ValuedRow], start: int, end: int) -> list[ValuedRow]:
    """One row of [start, end) for each namespace, workload and labels, of all scopes and nodes."""
    sums: dict[tuple[object, ...], ValuedRow] = {}
    for row in rows_within(rows, start, end):
        key = (row.namespace, row.workload, *sorted(row.labels.items()))
        if (total := sums.get(key)) is not None:
            total.add(row.figures, row.factors)
        else:
            sums[key] = replace(row, start=start, end=end, node="", scope="", figures=list(row.figures))
    return list(sums.values())


@dataclass(slots=True)
class ValuedUnit:
    """An hour, a day or a month that is over, valued; `reported` is (start, end, node-milliseconds) by slice.

    `applied` is of hours alone: the numbers that they were valued by.
    """

    level: int
    start: int
    rows: list[ValuedRow]
    reported: list[tuple[int, int, int]]
    applied: list[AppliedFactors] = field(default_factory=list)
    _by_namespace: dict[str, list[ValuedRow]] | None = field(default=None, compare=False, repr=False)

    @property
    def by_namespace(self) -> Mapping[str, Sequence[ValuedRow]]:
        """The unit's rows under their namespaces."""
        if self._by_namespace is None:
            found: dict[str, list[ValuedRow]] = {}
            for row in self.rows:
                found.setdefault(row.namespace, []).append(row)
            self._by_namespace = found
        return self._by_namespace
