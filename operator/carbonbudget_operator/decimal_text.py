"""Formats integers as exact decimal text in g, kg and kWh.

Text and not numbers, because JavaScript would round large numbers.
"""

from __future__ import annotations

from carbonbudget_operator.energy_units import UJ_PER_KWH


def grams(micrograms: int) -> str:
    """Micrograms as grams with all decimals: 1_500_000 becomes "1.5"."""
    return _decimal(micrograms, 6)


def kilograms(micrograms: int) -> str:
    """Micrograms as kilograms with all decimals."""
    return _decimal(micrograms, 9)


def kilowatt_hours(microjoules: int) -> str:
    """Microjoules as kWh, rounded down to 12 decimals (13 below 4 uJ): 3.6e12 becomes "1"."""
    digits = 13 if 0 < microjoules < 4 else 12
    return _decimal(microjoules * 10**digits // UJ_PER_KWH, digits)


def _decimal(value: int, digits: int) -> str:
    whole, rest = divmod(value, 10**digits)
    text = str(rest).zfill(digits).rstrip("0")
    return f"{whole}.{text}" if text else str(whole)
