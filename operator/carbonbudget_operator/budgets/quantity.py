"""Masses of CO2e as people write them ("5kg", "312.5 g") and as this project computes them, in micrograms. Also energy.

What is printed is rounded down, so that it is never more than what was used; it is never 0 for what is more than 0, and
off by less than one in its last digit.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

UNITS_UG: Final = {"mg": 10**3, "g": 10**6, "kg": 10**9, "t": 10**12}
# At most 15 digits before and 9 after the point: exact, and below 2**63 micrograms for any sane budget.
PATTERN: Final = r"^[0-9]{1,9}(\.[0-9]{1,9})?(mg|g|kg|t)$"
_QUANTITY = re.compile(PATTERN)
_TOO_LONG = re.compile(r"[0-9]+(\.[0-9]+)?(mg|g|kg|t)")
_MOST_DECIMALS: Final = 9  # what can be read back
_J_UJ: Final = 10**6
_WH_UJ: Final = 3600 * _J_UJ
_KWH_UJ: Final = 1000 * _WH_UJ


class QuantityError(ValueError):
    """A limit that is none; one line says what to write."""


def parse_mass(text: str) -> int:
    """Micrograms of a mass such as "5kg", "0.5g" or "312mg".

    Raises:
        QuantityError: no such number, or finer than a microgram.
    """
    match = _QUANTITY.fullmatch(text)  # with `match`, a line break at the end would pass
    if match is None:
        if _TOO_LONG.fullmatch(text):
            raise QuantityError(f"{text[:40]!r} has too many digits: write at most 9 before the point and 9 after it")
        raise QuantityError(f"{text!r} must be a number with a unit mg, g, kg or t, for example 5kg")
    unit = match[2]
    micrograms = Fraction(text.removesuffix(unit)) * UNITS_UG[unit]
    if micrograms.denominator != 1:
        raise QuantityError(f"{text!r} is finer than a microgram")
    return int(micrograms)


def format_mass(micrograms: int) -> str:
    """Two significant digits or more in the unit that reads best: "4.1kg", "312g", "0.04mg", "0mg"."""
    return _mass(micrograms, 0)


def exact_mass(micrograms: int) -> str:
    """All its digits in the unit that reads best, as far as they can be read back: a limit of 1250mg is "1.25g"."""
    return _mass(micrograms, _MOST_DECIMALS)


def format_beside(micrograms: int, other_ug: int) -> str:
    """`format_mass`, with as many digits as it takes to be above, at or below `other_ug` as the mass itself is.

    So a use of 1255mg is not "1.2g" beside a limit of 1.25g that it exceeds. `other_ug` is shown by `exact_mass`.
    """
    if micrograms <= other_ug:  # rounded down it stays below; what is equal has to be exact
        return exact_mass(micrograms) if micrograms == other_ug else format_mass(micrograms)
    more = next((more for more in range(_MOST_DECIMALS) if _floor(micrograms, more) > other_ug), _MOST_DECIMALS)
    return _mass(micrograms, more)


def format_pair(first_ug: int, second_ug: int) -> tuple[str, str]:
    """Both, with as many digits as it takes to show which is more."""
    for more in range(_MOST_DECIMALS):
        if _order(_floor(first_ug, more), _floor(second_ug, more)) == _order(first_ug, second_ug):
            return _mass(first_ug, more), _mass(second_ug, more)
    return exact_mass(first_ug), exact_mass(second_ug)


def format_energy(microjoules: int) -> str:
    """Three significant digits or more: "0.78 kWh" from a tenth of a kWh on, "3.20 Wh" from a Wh on, else "35.9 J"."""
    if microjoules >= _KWH_UJ // 10:
        return f"{_digits(microjoules, _KWH_UJ, 3, 2)} kWh"
    if microjoules >= _WH_UJ:
        return f"{_digits(microjoules, _WH_UJ, 3, 2)} Wh"
    return f"{_digits(microjoules, _J_UJ, 3, 0)} J"


def format_percent(percent: int, used_ug: int) -> str:
    """Per cent that was rounded down; any use at all is not "0"."""
    return "<1" if percent == 0 and used_ug > 0 else str(percent)


def _mass(micrograms: int, more: int) -> str:
    """With `more` decimals than reads best."""
    sign, value = ("-", -micrograms) if micrograms < 0 else ("", micrograms)
    unit, decimals = _reads_best(value)
    return f"{sign}{_number(value, UNITS_UG[unit], min(decimals + more, _MOST_DECIMALS), 0)}{unit}"


def _floor(micrograms: int, more: int) -> int:
    """Micrograms that `_mass` shows of what is not below 0."""
    unit, decimals = _reads_best(micrograms)
    step: int = max(1, UNITS_UG[unit] // 10 ** min(decimals + more, _MOST_DECIMALS))
    return micrograms - micrograms % step


def _reads_best(value: int) -> tuple[str, int]:
    """The unit, and how many decimals give two significant digits or more."""
    unit = next((name for name in ("t", "kg", "g") if value >= UNITS_UG[name]), "mg")
    decimals = 0 if value >= 100 * UNITS_UG[unit] else 1
    if value < UNITS_UG["mg"]:
        decimals = 2 if value >= 100 else 3
    return unit, decimals


def _digits(value: int, unit: int, significant: int, least: int) -> str:
    """`significant` digits, at least `least` decimals."""
    decimals = 0
    while value and value * 10**decimals < unit * 10 ** (significant - 1):
        decimals += 1
    return _number(value, unit, max(decimals, least), least)


def _number(value: int, unit: int, decimals: int, least: int) -> str:
    """`value` in `unit`, rounded down to `decimals`; zeros at the end are cut down to `least` decimals."""
    whole, rest = divmod(value * 10**decimals // unit, 10**decimals)
    fraction = str(rest).zfill(decimals) if decimals else ""
    while len(fraction) > least and fraction.endswith("0"):
        fraction = fraction[:-1]
    return f"{whole}.{fraction}" if fraction else str(whole)


def _order(first: int, second: int) -> int:
    return (first > second) - (first < second)
