"""Integers as people and JavaScript read them: exact decimal strings in g and kWh."""

from __future__ import annotations


def grams(micrograms: int) -> str:
    """Grams with all their decimals: 1_500_000 is "1.5"."""
    return _decimal(micrograms, 6)


def kilograms(micrograms: int) -> str:
    """Kilograms with all their decimals."""
    return _decimal(micrograms, 9)


def kilowatt_hours(microjoules: int) -> str:
    """Kilowatt-hours to the nanowatt-hour below: 3.6e12 uJ is "1"; what is less than that has a digit more."""
    digits = 13 if 0 < microjoules < 4 else 12
    return _decimal(microjoules * 10**digits // 3_600_000_000_000, digits)


def _decimal(value: int, digits: int) -> str:
    whole, rest = divmod(value, 10**digits)
    text = str(rest).zfill(digits).rstrip("0")
    return f"{whole}.{text}" if text else str(whole)
