"""Integers as people and JavaScript read them: exact decimal strings in g and kWh."""

from __future__ import annotations


def grams(micrograms: int) -> str:
    """Grams with all their decimals: 1_500_000 is "1.5"."""
    return _decimal(micrograms, 6)


def kilowatt_hours(microjoules: int) -> str:
    """Kilowatt-hours to the nanowatt-hour below: 3.6e12 uJ is "1"."""
    return _decimal(microjoules * 10**12 // 3_600_000_000_000, 12)


def _decimal(value: int, digits: int) -> str:
    whole, rest = divmod(value, 10**digits)
    text = str(rest).zfill(digits).rstrip("0")
    return f"{whole}.{text}" if text else str(whole)
