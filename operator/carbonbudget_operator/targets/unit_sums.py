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
    `hours`: the span's hours that count; `known_hours`: those of them whose units are known.
    """

    emissions_ug: int
    embodied_ug: int
    energy_uj: int
    units_micro: int
    hours: int
    known_hours: int

    def __add__(self, other: UnitSums) -> UnitSums:
        """The sums of both spans."""
        return UnitSums(
            self.emissions_ug + other.emissions_ug,
            self.embodied_ug + other.embodied_ug,
            self.energy_uj + other.energy_uj,
            self.units_micro + other.units_micro,
            self.hours + other.hours,
            self.known_hours + other.known_hours,
        )

    @property
    def operational_ug(self) -> int:
        """Micrograms of the energy. Never below 0, also if an answer has more embodied emissions than emissions."""
        return max(0, self.emissions_ug - self.embodied_ug)

    @property
    def known_percent(self) -> int:
        """Per cent of the hours whose units are known, rounded down; 0 without hours."""
        return self.known_hours * 100 // self.hours if self.hours else 0


def rate_ug(emissions_ug: int, units_micro: int, per: int) -> Fraction:
    """Micrograms per `per` units, exact. Raises ZeroDivisionError without units."""
    return Fraction(emissions_ug * per * MICRO, units_micro)


def format_units(units_micro: int) -> str:
    """Millionths of a unit as a decimal number with all its digits: 1500000 is "1.5"."""
    whole, rest = divmod(units_micro, MICRO)
    return f"{whole}.{rest:06}".rstrip("0") if rest else str(whole)


def parse_units(text: str) -> int:
    """The same the other way round. Raises ValueError."""
    micro = Fraction(text) * MICRO
    if micro.denominator != 1:
        raise ValueError(f"{text!r} is finer than a millionth of a unit")
    return int(micro)
