"""The rows of a greenhouse-gas inventory, each with its name in the GHG Protocol. Pure.

The name of a row depends on who owns the nodes (`carbon.ownership`; `auto`: by the provider id of the node):

- `owned`: you own the machines, or lease them and operate them yourself. Their electricity is Scope 2, by direct
  factors (Scope 2 Guidance, 2015, chapter 6; leased assets: Corporate Standard, appendix F). What is upstream of it is
  Scope 3, category 3, and making the machines is category 2, capital goods (Scope 3 Standard, 2011, chapter 5).
- `cloud`: a provider runs them and sells a service. Everything, the making of the machines too, is cradle to gate of a
  purchased service: Scope 3, category 1 (the same chapter).
- `leased`: you lease them and do not operate them: Scope 3, category 8, upstream leased assets. Its minimum boundary is
  the lessor's Scope 1 and 2; making the machines is optional there (the same chapter).

Embodied emissions are written off over the machine's life (SCI, ISO/IEC 21031:2024). An inventory that follows the
Scope 3 Standard counts a capital good whole in the year in which it was bought: so the row is a KPI, as its note says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.decimal_text import grams
from carbonbudget_operator.valuation.node_factors import LEASED, SCOPE_2, SCOPE_3

# The names in the ledger's rows, and in reports.
OWNERSHIP: Final = {SCOPE_2: "owned", SCOPE_3: "cloud", LEASED: "leased"}

_NOT_SPLIT: Final = "no source states the direct part: this is no Scope 2 figure by direct factors"
_UPSTREAM: Final = "life-cycle less direct factor of one source; losses of the grid are not in it"
_WRITTEN_OFF: Final = "written off over the machines' life (SCI); the GHG Protocol counts it in the year of purchase"
_NO_UPSTREAM: Final = "no source states both the direct and the life-cycle factor"
_STANDS_IN: Final = "no market factor is configured for it: the location's figure stands in"


@dataclass(frozen=True, slots=True)
class InventoryAmounts:
    """Micrograms of one ownership. `direct_ug` + `unsplit_ug`, and with life-cycle factors + `upstream_ug`, are
    `location_ug`. `stood_in_ug`: the part of `market_ug` for which no market factor is known.
    """

    location_ug: int
    direct_ug: int
    upstream_ug: int
    unsplit_ug: int
    market_ug: int
    embodied_ug: int
    stood_in_ug: int = 0


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """One row: `micrograms` is None where that is not known."""

    name: str
    ownership: str
    micrograms: int | None
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """Micrograms, grams as a decimal string; both null where they are not known."""
        ug = self.micrograms
        return {
            "name": self.name,
            "ownership": self.ownership,
            "ug": ug,
            "g": None if ug is None else grams(ug),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class _Names:
    direct: str
    unsplit: str
    market: str
    market_by_lifecycle: str
    upstream: str
    embodied: str


def _of_a_service(category: str) -> _Names:
    return _Names(
        f"{category}: electricity, location-based (direct)",
        f"{category}: electricity, location-based (life-cycle factors; direct share not known)",
        f"{category}: electricity, market-based",
        f"{category}: electricity, market-based; life-cycle factors stand in",
        f"{category}: upstream of electricity",
        f"{category}: embodied hardware",
    )


_NAMES: Final[Mapping[str, _Names]] = {
    "owned": _Names(
        "Scope 2, location-based (direct)",
        "Location-based, life-cycle factors; direct share not known",
        "Scope 2, market-based",
        "Market-based, life-cycle factors stand in; no market factor is known",
        "Scope 3, category 3 (upstream of electricity)",
        "Scope 3, category 2 (capital goods): embodied hardware",
    ),
    "cloud": _of_a_service("Scope 3, category 1 (purchased services)"),
    "leased": _of_a_service("Scope 3, category 8 (upstream leased assets)"),
}


def inventory_rows(by_ownership: Mapping[str, InventoryAmounts]) -> Iterable[InventoryRow]:
    """The rows of each ownership that there is, the owned nodes' first. None of them is netted with another."""
    for ownership, names in _NAMES.items():
        if (amounts := by_ownership.get(ownership)) is not None:
            yield from _rows(ownership, names, amounts)


def _rows(ownership: str, names: _Names, amounts: InventoryAmounts) -> Iterable[InventoryRow]:
    electricity_ug = amounts.location_ug + amounts.upstream_ug
    # Nothing of it was split: 0 would read as a figure.
    direct_ug = None if electricity_ug and not electricity_ug - amounts.unsplit_ug else amounts.direct_ug
    upstream_ug = amounts.upstream_ug if amounts.upstream_ug or not electricity_ug else None
    yield InventoryRow(names.direct, ownership, direct_ug)
    if amounts.unsplit_ug:
        yield InventoryRow(names.unsplit, ownership, amounts.unsplit_ug, _NOT_SPLIT if ownership == "owned" else "")
    # What is not by direct factors alone is no Scope 2, also where it stands in for a market factor.
    stood_in_ug = amounts.stood_in_ug if amounts.location_ug != amounts.direct_ug else 0
    all_of_it = 0 < stood_in_ug == amounts.market_ug
    note = _STANDS_IN if amounts.stood_in_ug and not stood_in_ug else ""
    yield InventoryRow(names.market, ownership, None if all_of_it else amounts.market_ug - stood_in_ug, note)
    if stood_in_ug:
        yield InventoryRow(names.market_by_lifecycle, ownership, stood_in_ug, _STANDS_IN)
    yield InventoryRow(names.upstream, ownership, upstream_ug, _NO_UPSTREAM if upstream_ug is None else _UPSTREAM)
    yield InventoryRow(names.embodied, ownership, amounts.embodied_ug, _WRITTEN_OFF)
