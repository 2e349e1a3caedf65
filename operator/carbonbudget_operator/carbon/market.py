"""Market-based emissions: contracts first, then what the supplier or the residual mix says. Pure.

GHG Protocol, Scope 2 Guidance (2015), chapter 6: the market-based factor is that of the contractual
instruments held, else the supplier's, else the residual mix; where there is none, the grid average
stands in and is told. A contract delivers its energy evenly over its hours; what an hour does not use is
not carried over, as the consultation of 2025 on hourly matching asks. A contract covers what the meter of the
whole data centre counts, PUE included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carbonbudget_operator.carbon.exactly import g_per_kwh
from carbonbudget_operator.carbon.value import UJ_PER_KWH, emissions_ug


@dataclass(frozen=True, slots=True)
class EnergyContract:
    """An instrument held: so many kWh of a zone over [start, end) UTC seconds, at its own factor."""

    name: str
    certificate: str
    zone: str
    start: int
    end: int
    kwh: int
    mg_per_kwh: int

    def delivered_uj(self, start: int, end: int) -> int:
        """What it delivers in a stretch of time, rounded down."""
        overlap = min(end, self.end) - max(start, self.start)
        return max(0, overlap) * self.kwh * UJ_PER_KWH // (self.end - self.start)


@dataclass(frozen=True, slots=True)
class ContractedEnergy:
    """What contracts cover of an energy, the micrograms of that part, and which ones they are."""

    covered_uj: int = 0
    emissions_ug: int = 0
    instruments: tuple[str, ...] = ()


def apply_contracts(
    contracts: Iterable[EnergyContract], zone: str, facility_uj: int, start: int, end: int
) -> ContractedEnergy:
    """Cover the energy of a zone's facilities in [start, end); the contracts of the lowest factor are drawn first."""
    left_uj, total_ug = facility_uj, 0
    used: list[str] = []
    for contract in sorted(contracts, key=lambda c: (c.mg_per_kwh, c.name)):
        drawn_uj = min(left_uj, contract.delivered_uj(start, end)) if contract.zone == zone else 0
        if drawn_uj:
            total_ug += emissions_ug(drawn_uj, 1000, contract.mg_per_kwh)
            left_uj -= drawn_uj
            used.append(f"{contract.name} ({contract.certificate}), {g_per_kwh(contract.mg_per_kwh)} g/kWh")
    return ContractedEnergy(facility_uj - left_uj, total_ug, tuple(used))
