"""The numbers of a report's location-based factors, from which an auditor can recompute its grams. Pure.

    grams = energy x PUE x intensity

for each factor and hour. The sums over a factor's hours are exact integers. Means are rounded, and the exact
sums that they are made of are beside them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Final

from carbonbudget_operator.answers.report_hash import canonical_json, digest
from carbonbudget_operator.decimal_text import grams
from carbonbudget_operator.ledger.applied_factors import AppliedFactors

_MEAN_DIGITS: Final = 9  # decimals of g/kWh; a mean of several hours is rounded to them


@dataclass(slots=True)
class _Factor:
    """One sentence's sums: microjoules of IT energy, and these times mg/kWh of either basis."""

    basis: str
    pue_permille: int
    zone: str = ""
    energy_uj: int = 0
    weighted: int = 0
    other_energy_uj: int = 0
    other_weighted: int = 0
    location_ug: int = 0
    values: int = 0
    hours: dict[str, list[int | None]] = field(default_factory=dict)

    def add(self, one: AppliedFactors) -> None:
        self.zone = self.zone or one.zone
        self.energy_uj += one.energy_uj
        self.weighted += one.energy_uj * one.mg_per_kwh
        if one.other_mg is not None:
            self.other_energy_uj += one.energy_uj
            self.other_weighted += one.energy_uj * one.other_mg
        self.location_ug += one.location_ug
        self.values += one.values
        self.hours[hour_name(one.hour)] = [one.mg_per_kwh, one.other_mg, one.energy_uj, one.location_ug]

    def to_json(self) -> dict[str, object]:
        found: dict[str, object] = {
            "basis": self.basis,
            "pue": f"{Decimal(self.pue_permille) / 1000:f}",
            "it_energy_uj": self.energy_uj,
            "g_per_kwh": _mean(self.weighted, self.energy_uj),
            "uj_times_mg_per_kwh": str(self.weighted),  # beyond the integers of JSON readers
            "location_ug": self.location_ug,
            "location_g": grams(self.location_ug),
            "values": self.values,
            "hours": self.hours,
            "sha256": digest(canonical_json(self.hours)),
        }
        if self.zone:  # not of hours that an earlier version stored
            found["zone"] = self.zone
        if self.other_energy_uj:
            found["other_g_per_kwh"] = _mean(self.other_weighted, self.other_energy_uj)
            found["other_it_energy_uj"] = self.other_energy_uj
            found["other_uj_times_mg_per_kwh"] = str(self.other_weighted)
        return found


class LocationFactors:
    """Adds up what hours were valued by."""

    def __init__(self) -> None:
        self._factors: dict[str, _Factor] = {}

    def add(self, applied: Iterable[AppliedFactors]) -> None:
        """More hours; each hour comes once."""
        for one in applied:
            found = self._factors.get(one.factor)
            if found is None:
                found = self._factors[one.factor] = _Factor(one.basis, one.pue_permille)
            found.add(one)

    @property
    def energy_uj(self) -> int:
        """The IT energy of all of them. The rest of a report's energy is of hours whose numbers are not stored."""
        return sum(factor.energy_uj for factor in self._factors.values())

    def to_json(self) -> dict[str, dict[str, object]]:
        """By the factor's sentence, as in the report's list of factors.

        `hours` has a list for each hour: mg/kWh, mg/kWh of the other basis or null, microjoules of IT energy, and
        micrograms, which add up to `location_ug`. `values` is how many products were rounded to whole micrograms.
        """
        return {name: factor.to_json() for name, factor in sorted(self._factors.items())}


def hour_name(hour: int) -> str:
    """An hour's start, ISO 8601 in UTC."""
    return f"{dt.datetime.fromtimestamp(hour, dt.UTC):%Y-%m-%dT%H:%MZ}"


def _mean(weighted: int, energy_uj: int) -> str:
    """g/kWh by energy; without trailing zeros, so that a figure that is the same in all hours is as it was stated."""
    with localcontext() as context:
        context.prec = 80
        mean = (Decimal(weighted) / (1000 * energy_uj)).quantize(Decimal(1).scaleb(-_MEAN_DIGITS))
        return f"{mean.normalize():f}"
