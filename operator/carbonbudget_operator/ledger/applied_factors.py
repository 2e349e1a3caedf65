"""The numbers by which an hour was valued. A report states them, so that its grams can be recomputed. Pure.

Rows have the sentences of their factors. The sentence of an hourly source covers many hours and has no number, so the
numbers are stored beside the rows of each hour.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class AppliedFactors:
    """One factor in one hour, and the energy that it was applied to.

    `factor` is its sentence in the rows. `mg_per_kwh` (mgCO2e/kWh) is of `basis`, lifecycle or direct.
    `other_mg` is the same source's figure of the other basis, None where it has none.
    `energy_uj` is IT energy, and `location_ug` its location-based emissions: the sum of `values` products, each rounded
    to whole micrograms. `zone` is the grid zone of the nodes; empty in hours that an earlier version stored.
    """

    hour: int
    factor: str
    basis: str
    mg_per_kwh: int
    other_mg: int | None
    pue_permille: int
    energy_uj: int
    location_ug: int
    values: int
    zone: str = ""

    @property
    def sums(self) -> tuple[int, int, int]:
        """Energy, emissions and the number of values."""
        return self.energy_uj, self.location_ug, self.values


def applied_text(applied: Sequence[AppliedFactors]) -> str:
    """The text that the ledger stores."""
    return json.dumps([astuple(one) for one in applied], separators=(",", ":"))


def applied_of(text: str | None) -> list[AppliedFactors]:
    """Back from the ledger. None is of hours that an earlier version valued: their numbers are not known."""
    return [AppliedFactors(*one) for one in json.loads(text)] if text else []
