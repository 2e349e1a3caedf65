"""Intensities as text with all their digits. Pure."""

from __future__ import annotations

from decimal import Decimal


def g_per_kwh(mg_per_kwh: int) -> str:
    """g/kWh of mg/kWh: 329_650 is "329.65"."""
    return f"{Decimal(mg_per_kwh) / 1000:f}"
