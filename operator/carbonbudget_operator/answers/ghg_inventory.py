"""The rows of a greenhouse-gas inventory, each with its name in the GHG Protocol. Pure.

The name of a row depends on who owns the nodes (`carbon.ownership`; `auto`: by the provider id of the node):

- `owned`: you own the machines, or lease them and operate them yourself. Their electricity is Scope 2, by direct
  factors (Scope 2 Guidance, 2015, chapter 6; leased assets: Corporate Standard, appendix F). What is upstream of it is
  Scope 3, category 3, and making the machines is category 2, capital goods (Scope 3 Standard, 2011, chapter 5).
- `cloud`: a provider runs them and sells a service. Everything, the making of the machines too, is cradle to gate of a
  purchased service: Scope 3, category 1 (the same chapter).
- `leased`: you lease them and do not operate them: Scope 3, category 8, upstream leased assets. Its minimum boundary is
  the lessor's Scope 1 and 2; making the machines is optional there (the same chapter).

A row states the emissions of the energy for which its factor is known, and its note the share of that energy. It is
null where its factor is known for none of it; 0 g by a known factor is 0.

Where no market factor is known, the market-based row takes the direct factor of the location (Scope 2 Guidance, table
6.3: the last of the factors is the grid average of the location-based method). A life-cycle factor is no Scope 2, so
what it stands in for is a row of its own.

Embodied emissions are written off over the machine's life (SCI, ISO/IEC 21031:2024), and what that means depends on the
owner (Scope 3 Standard, chapter 5). Capital goods count whole in the year in which they were bought, so the written-off
share of owned machines is a KPI. A provider's machines are upstream of the service that it sells, so the share is in
category 1. Of leased machines it is optional.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.decimal_text import grams
from carbonbudget_operator.valuation.node_factors import LEASED, SCOPE_2, SCOPE_3

# The names in the ledger's rows, and in reports.
OWNERSHIP: Final = {SCOPE_2: "owned", SCOPE_3: "cloud", LEASED: "leased"}

# Whether a row belongs in the sum of an inventory.
INVENTORY: Final = "inventory"  # it does
STANDS_IN: Final = "stands_in"  # in place of the row before it, for energy of which that one's factor is not known
OPTIONAL: Final = "optional"  # the category's minimum boundary does not have it
KPI: Final = "kpi"  # it does not
# By which method of Scope 2 a row is: an inventory states both, and no sum has both.
LOCATION: Final = "location"
MARKET: Final = "market"
BOTH: Final = "both"  # the row is the same by either

_NOT_SPLIT: Final = "no source states the direct part: this is no Scope 2 figure by direct factors"
_UPSTREAM: Final = "life-cycle less direct factor of one source; losses of the grid are not in it"
_NO_UPSTREAM: Final = "no source states both the direct and the life-cycle factor"
_WRITTEN_OFF: Final = "written off over the machines' life (SCI)"
_STANDS_IN: Final = "no market factor is configured for it: the location's figure stands in"
_DIRECT_STANDS_IN: Final = "where no market factor is configured, the location's direct factor stands in"


@dataclass(frozen=True, slots=True)
class InventoryAmounts:
    """Micrograms of one ownership. `direct_ug` + `unsplit_ug`, and with life-cycle factors + `upstream_ug`, are
    `location_ug`. `stood_in_ug`: the part of `market_ug` for which no market factor is known; where the location's
    factor is split, `stood_in_direct_ug` of it is direct and `stood_in_upstream_ug` is upstream.

    `facility_uj` are the microjoules of energy, PUE included. Of these, `direct_uj` have a known direct factor,
    `upstream_uj` a known upstream one, and `market_uj` a market factor or the location's direct one in its place.
    """

    location_ug: int = 0
    direct_ug: int = 0
    upstream_ug: int = 0
    unsplit_ug: int = 0
    market_ug: int = 0
    embodied_ug: int = 0
    stood_in_ug: int = 0
    stood_in_direct_ug: int = 0
    stood_in_upstream_ug: int = 0
    facility_uj: int = 0
    direct_uj: int = 0
    upstream_uj: int = 0
    market_uj: int = 0


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """One row: `micrograms` is None where that is not known.

    `kind` says whether it belongs in a sum: inventory, stands_in, optional or kpi. `method`: location, market or both.
    """

    name: str
    ownership: str
    kind: str
    method: str
    micrograms: int | None
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """Micrograms, grams as a decimal string; both null where they are not known."""
        ug = self.micrograms
        return {
            "name": self.name,
            "ownership": self.ownership,
            "kind": self.kind,
            "method": self.method,
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
    upstream_kind: str
    embodied_kind: str
    embodied_note: str


def _of_a_service(category: str, kind: str, embodied_note: str) -> _Names:
    """`kind` is that of what is not electricity as the lessor or provider buys it."""
    return _Names(
        f"{category}: electricity, location-based (direct)",
        f"{category}: electricity, location-based (life-cycle factors; direct share not known)",
        f"{category}: electricity, market-based",
        f"{category}: electricity, market-based; life-cycle factors stand in",
        f"{category}: upstream of electricity",
        f"{category}: embodied hardware",
        kind,
        kind,
        f"{_WRITTEN_OFF}; {embodied_note}",
    )


_NAMES: Final[Mapping[str, _Names]] = {
    "owned": _Names(
        "Scope 2, location-based (direct)",
        "Location-based, life-cycle factors; direct share not known",
        "Scope 2, market-based",
        "Market-based, life-cycle factors stand in; no market factor is known",
        "Scope 3, category 3 (upstream of electricity)",
        "Scope 3, category 2 (capital goods): embodied hardware",
        INVENTORY,
        KPI,
        f"{_WRITTEN_OFF}; the GHG Protocol counts a capital good whole in the year of purchase",
    ),
    "cloud": _of_a_service(
        "Scope 3, category 1 (purchased services)",
        INVENTORY,
        "the provider's machines are a part of the purchased service",
    ),
    "leased": _of_a_service(
        "Scope 3, category 8 (upstream leased assets)",
        OPTIONAL,
        "making the lessor's machines is optional in this category",
    ),
}


def inventory_rows(by_ownership: Mapping[str, InventoryAmounts]) -> Iterable[InventoryRow]:
    """The rows of each ownership that there is, the owned nodes' first. None of them is netted with another."""
    for ownership, names in _NAMES.items():
        if (amounts := by_ownership.get(ownership)) is not None:
            yield from _rows(ownership, names, amounts)


def _rows(ownership: str, names: _Names, its: InventoryAmounts) -> Iterable[InventoryRow]:
    def row(name: str, kind: str, method: str, micrograms: int, covered_uj: int, *notes: str) -> InventoryRow:
        """One row of `covered_uj` of the energy: the rule of all rows."""
        share = _share(covered_uj, its.facility_uj)
        known = micrograms if covered_uj or not its.facility_uj else None
        return InventoryRow(name, ownership, kind, method, known, "; ".join(note for note in (*notes, share) if note))

    yield row(names.direct, INVENTORY, LOCATION, its.direct_ug, its.direct_uj)
    if (rest_uj := its.facility_uj - its.direct_uj) > 0:
        note = _NOT_SPLIT if ownership == "owned" else ""
        yield row(names.unsplit, STANDS_IN, LOCATION, its.unsplit_ug, rest_uj, note)
    stood_in_ug = its.stood_in_direct_ug + its.stood_in_upstream_ug  # where a direct factor does
    market_ug = its.market_ug - its.stood_in_ug + its.stood_in_direct_ug
    yield row(names.market, INVENTORY, MARKET, market_ug, its.market_uj, _DIRECT_STANDS_IN if stood_in_ug else "")
    if (rest_uj := its.facility_uj - its.market_uj) > 0:
        # Shared namespaces are divided column by column: their owners' parts can differ by a microgram.
        rest_ug = max(0, its.stood_in_ug - stood_in_ug)
        yield row(names.market_by_lifecycle, STANDS_IN, MARKET, rest_ug, rest_uj, _STANDS_IN)
    note = _UPSTREAM if its.upstream_uj or not its.facility_uj else _NO_UPSTREAM
    yield row(names.upstream, names.upstream_kind, BOTH, its.upstream_ug, its.upstream_uj, note)
    yield InventoryRow(names.embodied, ownership, names.embodied_kind, BOTH, its.embodied_ug, names.embodied_note)


def _share(covered_uj: int, whole_uj: int) -> str:
    """Which part of the energy a row covers, rounded down; empty for all and for none."""
    if not 0 < covered_uj < whole_uj:
        return ""
    percent = covered_uj * 100 // whole_uj
    return f"covers {percent} % of the energy" if percent else "covers less than 1 % of the energy"
