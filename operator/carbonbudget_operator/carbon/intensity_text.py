"""Formats intensities as text with all digits. Pure."""

from __future__ import annotations

from decimal import Decimal


def g_per_kwh(mg_per_kwh: int) -> str:
    """Format mg/kWh as g/kWh: 329_650 becomes "329.65"."""
    return f"{Decimal(mg_per_kwh) / 1000:f}"
