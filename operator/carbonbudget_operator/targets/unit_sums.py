"""Sums of a span's hours whose units are known, and emissions per unit as exact fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

MICRO: Final = 1_000_000  # millionths of a unit in a unit


@dataclass(frozen=True, slots=True)
class UnitSums:
    """Sums of the hours of one span whose units are known.

    `emissions_ug`: micrograms, with `embodied_ug`. `energy_uj`: microjoules. `units_micro`: millionths of a unit.
    `hours`: the span's hours that count; `known_hours`: those of them whose units are known in all namespaces.
    `all_emissions_ug`: of all hours, also those whose units are not known. `known_share`: per cent of these emissions
    whose units are known, rounded down. Both are None where that is not known.
    """

    emissions_ug: int
    embodied_ug: int
    energy_uj: int
    units_micro: int
    hours: int
    known_hours: int
    all_emissions_ug: int | None = None
    known_share: int | None = None

    @property
    def operational_ug(self) -> int:
        """Micrograms of the energy. Never below 0, also if an answer has more embodied emissions than emissions."""
        return max(0, self.emissions_ug - self.embodied_ug)

    @property
    def known_percent(self) -> int:
        """Per cent of the emissions whose units are known, rounded down; of the hours where that share is not known.

        By emissions, so that a namespace without units weighs as much as it emits.
        """
        if self.known_share is not None:
            return self.known_share
        return self.known_hours * 100 // self.hours if self.hours else 0

    @property
    def known_text(self) -> str:
        """ "units of 3 of the 24 hours", or "units of 12 % of the emissions": how much is known."""
        if self.known_share is None:
            return f"units of {self.known_hours} of the {self.hours} hours"
        return f"units of {self.known_share} % of the emissions"


def rate_ug(emissions_ug: int, units_micro: int, per: int) -> Fraction:
    """Micrograms per `per` units, exact. Raises ZeroDivisionError without units."""
    return Fraction(emissions_ug * per * MICRO, units_micro)


def format_units(units_micro: int) -> str:
    """Millionths of a unit as a decimal number with all its digits: 1500000 is "1.5"."""
    whole, rest = divmod(units_micro, MICRO)
    return f"{whole}.{rest:06}".rstrip("0") if rest else str(whole)


def parse_units(text: str) -> int:
    """The millionths of a unit that a text states. Raises ValueError."""
    micro = Fraction(text) * MICRO
    if micro.denominator != 1:
        raise ValueError(f"{text!r} is finer than a millionth of a unit")
    return int(micro)
