"""Location-based emissions set apart into direct and upstream ones. Pure.

A direct factor counts combustion in power stations alone: that is what Scope 2 is (GHG Protocol, Scope 2 Guidance,
2015, chapter 6). A life-cycle factor also has fuel supply and the building of power stations: that part is upstream of
the electricity and belongs to Scope 3, category 3 (Scope 3 Standard, 2011, chapter 5). The two are set apart only where
one source states both figures for the same zone and hour: the difference of two sources, or of two years, would hold
what those differ by too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.exact import share_list
from carbonbudget_operator.carbon.value import emissions_ug

LIFECYCLE: Final = "lifecycle"
DIRECT: Final = "direct"


def other_basis(basis: str) -> str:
    """Direct for lifecycle, and lifecycle for direct."""
    return LIFECYCLE if basis == DIRECT else DIRECT


@dataclass(frozen=True, slots=True)
class AccountingBases:
    """What is known of one place and hour in mgCO2e/kWh: by direct and by life-cycle factors; None is not known.

    Both are there only where one source states both.
    """

    direct_mg: int | None
    lifecycle_mg: int | None

    @classmethod
    def of(cls, basis: str, mg_per_kwh: int, other_mg: int | None = None) -> AccountingBases:
        """A figure of a basis, and the same source's figure of the other one.

        A pair whose life cycle is less than its direct part cannot be; then the other figure is left out.
        """
        direct, whole = (mg_per_kwh, other_mg) if basis == DIRECT else (other_mg, mg_per_kwh)
        if direct is not None and whole is not None and direct > whole:
            return cls.of(basis, mg_per_kwh)
        return cls(direct, whole)


@dataclass(frozen=True, slots=True)
class BasisSplit:
    """Micrograms by row, each list as long as the rows, or empty where it is 0 for all of them.

    `unsplit` is what was valued with a life-cycle factor whose direct share is not known.
    """

    direct: Sequence[int] = ()
    upstream: Sequence[int] = ()
    unsplit: Sequence[int] = ()


def split_by_basis(
    location_ug: Sequence[int], energies_uj: Sequence[int], pue_permille: int, basis: str, known: AccountingBases
) -> BasisSplit:
    """The rows of one node's domain, valued with the figure of `basis` (`location_ug` adds up to its emissions).

    With life-cycle factors each row's direct and upstream part add up to its location-based emissions. With direct
    factors each row's direct part is them, and what is upstream comes on top; where it is not known it is left out.
    """
    if known.direct_mg is None:
        return BasisSplit(unsplit=location_ug)
    if known.lifecycle_mg is None:
        return BasisSplit(direct=location_ug)
    energy_uj = sum(energies_uj)
    if basis == DIRECT:
        whole_ug = emissions_ug(energy_uj, pue_permille, known.lifecycle_mg)
        return BasisSplit(location_ug, _share(whole_ug - sum(location_ug), energies_uj))
    # By the emissions and not by the energies: so no row's direct part is more than the row.
    direct = _share(emissions_ug(energy_uj, pue_permille, known.direct_mg), location_ug)
    return BasisSplit(direct, [whole - part for whole, part in zip(location_ug, direct, strict=True)])


def _share(total: int, weights: Sequence[int]) -> Sequence[int]:
    return share_list(total, list(weights)) if total else [0] * len(weights)
