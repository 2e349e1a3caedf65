"""Splits location-based emissions into direct and upstream emissions. Pure.

A direct factor includes only combustion in power stations, which is Scope 2 (GHG Protocol, Scope 2 Guidance, 2015,
chapter 6). A life-cycle factor also includes fuel supply and the construction of power stations. This part is upstream
and belongs to Scope 3, category 3 (Scope 3 Standard, 2011, chapter 5). Emissions are split only if one source has both
figures for the same zone and hour. The difference of two sources or years would also contain their other differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.carbon.emissions_formula import emissions_ug

LIFECYCLE: Final = "lifecycle"
DIRECT: Final = "direct"


def other_basis(basis: str) -> str:
    """`direct` for `lifecycle`, and the reverse."""
    return LIFECYCLE if basis == DIRECT else DIRECT


@dataclass(frozen=True, slots=True)
class AccountingBases:
    """The direct and the life-cycle factor of one place and hour in mgCO2e/kWh; None if unknown.

    Both are known only if one source has both.
    """

    direct_mg: int | None
    lifecycle_mg: int | None

    @classmethod
    def of(cls, basis: str, mg_per_kwh: int, other_mg: int | None = None) -> AccountingBases:
        """From a figure of `basis`, and the same source's figure of the other basis.

        A life-cycle figure below the direct one is impossible; then the other figure is ignored.
        """
        direct, whole = (mg_per_kwh, other_mg) if basis == DIRECT else (other_mg, mg_per_kwh)
        if direct is not None and whole is not None and direct > whole:
            return cls.of(basis, mg_per_kwh)
        return cls(direct, whole)


@dataclass(frozen=True, slots=True)
class BasisSplit:
    """Micrograms of CO2e by row. Each list has one entry for each row, or is empty if all entries are 0.

    `unsplit` are emissions by a life-cycle factor whose direct part is unknown.
    """

    direct: Sequence[int] = ()
    upstream: Sequence[int] = ()
    unsplit: Sequence[int] = ()


def split_by_basis(
    location_ug: Sequence[int], energies_uj: Sequence[int], pue_permille: int, basis: str, known: AccountingBases
) -> BasisSplit:
    """Split the rows of one node's domain. They are valued by `basis`: `location_ug` are their emissions in ug.

    With life-cycle factors, the direct and upstream part of a row add up to its location-based emissions. With direct
    factors, the direct part is the location-based emissions, and upstream emissions are additional, if known.
    """
    if known.direct_mg is None:
        return BasisSplit(unsplit=location_ug)
    if known.lifecycle_mg is None:
        return BasisSplit(direct=location_ug)
    energy_uj = sum(energies_uj)
    if basis == DIRECT:
        whole_ug = emissions_ug(energy_uj, pue_permille, known.lifecycle_mg)
        return BasisSplit(location_ug, share_list(whole_ug - sum(location_ug), energies_uj))
    # In proportion to emissions and not to energy, so that the direct part of a row is never larger than the row.
    direct = share_list(emissions_ug(energy_uj, pue_permille, known.direct_mg), location_ug)
    return BasisSplit(direct, [whole - part for whole, part in zip(location_ug, direct, strict=True)])
