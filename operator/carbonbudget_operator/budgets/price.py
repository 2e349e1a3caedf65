"""What emissions and energy cost: a price of a tonne of CO2e and a tariff of a kWh, in integers. Pure.

Prices are millionths of the currency, masses micrograms, energy microjoules. A cost stays an exact integer, in parts of
the currency that are too small to show, until it is written. So costs of hours with different prices add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from carbonbudget_operator.energy_units import UJ_PER_KWH

MICRO: Final = 1_000_000  # millionths of the currency in one
_UG_PER_TONNE: Final = 10**12
# What one unit of the currency is in the integers below.
EMISSION_PARTS: Final = _UG_PER_TONNE * MICRO
ENERGY_PARTS: Final = UJ_PER_KWH * MICRO
_PLACES: Final = 6


@dataclass(frozen=True, slots=True)
class Price:
    """The prices in force at one time, 0 where there is none. `currency` is an ISO 4217 code."""

    per_tonne_micro: int
    per_kwh_micro: int
    currency: str

    def of_emissions(self, micrograms: int) -> int:
        """The cost of a mass of CO2e, in parts of which EMISSION_PARTS are one."""
        return micrograms * self.per_tonne_micro

    def of_energy(self, microjoules: int) -> int:
        """The cost of energy, in parts of which ENERGY_PARTS are one."""
        return microjoules * self.per_kwh_micro


def money(micrograms: int, microjoules: int, price: Price) -> Decimal:
    """What emissions and energy cost together, with six decimals, rounded half to even. Both may be negative."""
    # One denominator for both: 10**18 and 3.6 * 10**18.
    parts = 36 * price.of_emissions(micrograms) + 10 * price.of_energy(microjoules)
    return amount(parts, 36 * EMISSION_PARTS)


def amount(parts: int, of_one: int) -> Decimal:
    """`parts` of which `of_one` are one unit of the currency, with six decimals, rounded half to even."""
    whole, rest = divmod(abs(parts) * 10**_PLACES, of_one)
    if 2 * rest > of_one or (2 * rest == of_one and whole % 2):
        whole += 1
    found = Decimal(whole if parts >= 0 else -whole)
    return found.scaleb(-_PLACES)


def money_text(cost: Decimal, currency: str) -> str:
    """ "1,234.50 EUR": two decimals, more where the amount is below 0.1 and would show as little or nothing.

    Rounded half to even; "0.00 EUR" for nothing.
    """
    size = abs(cost)
    decimals = 2 if size >= Decimal("0.1") or size == 0 else 4 if size >= Decimal("0.001") else _PLACES
    return f"{cost:,.{decimals}f} {currency}".strip()
