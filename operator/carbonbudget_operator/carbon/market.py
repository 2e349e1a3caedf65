"""Applies energy contracts to market-based emissions. Pure.

GHG Protocol, Scope 2 Guidance (2015), chapter 6: the market-based factor is that of contractual instruments, else the
supplier's, else the residual mix. Without any of them the grid average is used, and reports state it. Instruments are
redeemed for the reporting company (chapter 7, table 7.1), so they cover the electricity that it buys itself, and none
of a cloud or of a lessor. A contract delivers its energy evenly over its hours. Energy that an hour does not use is not
carried over, as the consultation of 2025 on hourly matching proposes. A contract covers the energy of the whole data
centre, PUE included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carbonbudget_operator.carbon.emissions_formula import emissions_ug
from carbonbudget_operator.carbon.intensity_text import g_per_kwh
from carbonbudget_operator.energy_units import UJ_PER_KWH


@dataclass(frozen=True, slots=True)
class EnergyContract:
    """A contractual instrument: `kwh` in `zone`, delivered over [start, end) UTC seconds, with its own factor."""

    name: str
    certificate: str
    zone: str
    start: int
    end: int
    kwh: int
    mg_per_kwh: int

    def delivered_uj(self, start: int, end: int) -> int:
        """Microjoules that it delivers in [start, end) UTC seconds, rounded down."""
        overlap = min(end, self.end) - max(start, self.start)
        return max(0, overlap) * self.kwh * UJ_PER_KWH // (self.end - self.start)


@dataclass(frozen=True, slots=True)
class ContractedEnergy:
    """The part of an energy that contracts cover, its emissions, and the contracts as text."""

    covered_uj: int = 0
    emissions_ug: int = 0
    instruments: tuple[str, ...] = ()


def apply_contracts(
    contracts: Iterable[EnergyContract], zone: str, facility_uj: int, start: int, end: int
) -> ContractedEnergy:
    """Cover the energy of a zone, PUE included, in [start, end) UTC seconds. The lowest factor is used first."""
    left_uj, total_ug = facility_uj, 0
    used: list[str] = []
    for contract in sorted(contracts, key=lambda c: (c.mg_per_kwh, c.name)):
        drawn_uj = min(left_uj, contract.delivered_uj(start, end)) if contract.zone == zone else 0
        if drawn_uj:
            total_ug += emissions_ug(drawn_uj, 1000, contract.mg_per_kwh)
            left_uj -= drawn_uj
            used.append(f"{contract.name} ({contract.certificate}), {g_per_kwh(contract.mg_per_kwh)} g/kWh")
    return ContractedEnergy(facility_uj - left_uj, total_ug, tuple(used))
