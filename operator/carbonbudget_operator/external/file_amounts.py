"""Amounts as files write them, as integers: micrograms of CO2e and microjoules. Pure.

Digits below one microgram or one microjoule are rounded to the nearest, halves to even, and it is told that they were.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.external.import_errors import ExternalFileError, shown

_NUMBER: Final = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,60})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_NEGATIVE: Final = re.compile(r"-[0-9.]+(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_NONE: Final = frozenset({"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "none", "null", "n/a"})
_LOCAL: Final = re.compile(r"[0-9]{1,3}(?:[.' ]?[0-9]{3})*,[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?", re.ASCII)
_CONTEXT: Final = Context(prec=200, rounding=ROUND_HALF_EVEN)
# A megatonne, and 2,500 MWh: more in one figure is a wrong unit. Both fit the ledger's integers.
_MOST_UG: Final = 10**18
_MOST_UJ: Final = 9 * 10**18

# Micrograms in one of the unit, by the names that the sources give it.
EMISSION_UNITS: Final = {"g": 10**6, "kg": 10**9, "kgCO2e": 10**9, "kgCO2E": 10**9, "MTCO2e": 10**12}


def decimal_of(text: str, where: str) -> Decimal:
    """A number that is not negative, as it is written. Raises ExternalFileError."""
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    if not text:
        raise ExternalFileError(f"{where} is empty: a number is needed")
    if text.lower() in _NONE:
        raise ExternalFileError(f"{where} is {shown(text)}, which is no amount")
    if _NEGATIVE.fullmatch(text):
        raise ExternalFileError(f"{where} is {shown(text)}: a negative amount cannot have been emitted")
    if _LOCAL.fullmatch(text):
        raise ExternalFileError(
            f"{where} is {shown(text)}: write decimals with a point and no thousands separator, as the source does"
        )
    raise ExternalFileError(f"{where} is {shown(text)}, which is no number")


def scaled(number: Decimal, units: int, most: int, where: str) -> tuple[int, bool]:
    """`number` times `units` as an integer, and whether digits were rounded. Raises ExternalFileError."""
    exact = _CONTEXT.multiply(number, Decimal(units))
    whole = int(exact.to_integral_value(ROUND_HALF_EVEN))
    if whole > most:
        raise ExternalFileError(f"{where} is {shown(number)}, which is too large for one figure: check its unit")
    return whole, exact != whole


def micrograms(text: str, unit: str, where: str) -> tuple[int, bool]:
    """An amount of CO2e in a unit of EMISSION_UNITS. Raises ExternalFileError."""
    if unit not in EMISSION_UNITS:
        raise ExternalFileError(f"{where} has the unit {shown(unit)}: known are {', '.join(EMISSION_UNITS)}")
    return scaled(decimal_of(text, where), EMISSION_UNITS[unit], _MOST_UG, where)


def microjoules(text: str, where: str) -> tuple[int, bool]:
    """An energy in kWh. Raises ExternalFileError."""
    return scaled(decimal_of(text, where), UJ_PER_KWH, _MOST_UJ, where)
