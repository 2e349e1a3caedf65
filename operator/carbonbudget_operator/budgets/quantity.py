"""Masses of CO2e as people write them ("5kg", "312.5 g") and as the rooms compute them: micrograms."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

UNITS_UG: Final = {"mg": 10**3, "g": 10**6, "kg": 10**9, "t": 10**12}
# At most 15 digits before and 9 after the point: exact, and below 2**63 micrograms for any sane budget.
PATTERN: Final = r"^[0-9]{1,9}(\.[0-9]{1,9})?(mg|g|kg|t)$"
_QUANTITY = re.compile(PATTERN)


class QuantityError(ValueError):
    """A limit that is none; one line says what to write."""


def parse_mass(text: str) -> int:
    """Micrograms of a mass such as "5kg", "0.5g" or "312mg".

    Raises:
        QuantityError: no such number, or finer than a microgram.
    """
    match = _QUANTITY.match(text)
    if match is None:
        raise QuantityError(f"{text!r} must be a number with a unit mg, g, kg or t, for example 5kg")
    unit = match[2]
    micrograms = Fraction(text.removesuffix(unit)) * UNITS_UG[unit]
    if micrograms.denominator != 1:
        raise QuantityError(f"{text!r} is finer than a microgram")
    return int(micrograms)


def format_mass(micrograms: int) -> str:
    """Two significant digits or more in the unit that reads best: "4.1kg", "312g", "0.4mg", "0mg".

    Rounded down, so that what is shown is never more than what was used.
    """
    sign, value = ("-", -micrograms) if micrograms < 0 else ("", micrograms)
    unit = next((name for name in ("t", "kg", "g") if value >= UNITS_UG[name]), "mg")
    tenths = value * 10 // UNITS_UG[unit]
    whole, tenth = divmod(tenths, 10)
    number = f"{whole}.{tenth}" if whole < 100 and tenth else str(whole)
    return f"{sign}{number}{unit}"
