"""Valuation: energy to emissions, in integers.

    emissions = energy x PUE x intensity

in microjoules, thousandths and mgCO2e/kWh to microgrammes of CO2e. A node slice's domain is valued
once, as a whole, and the result is shared out over its rows, so that the rows' grams add up to the
total's to the last microgram.
"""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.energy_units import UJ_PER_KWH

UG_PER_MG: Final = 1000


def emissions_ug(energy_uj: int, pue_permille: int, intensity_mg_per_kwh: int) -> int:
    """Micrograms of CO2e of an energy, rounded half to even.

    GHG Protocol, Scope 2 Guidance (2015): activity data x emission factor; PUE after ISO/IEC 30134-2.
    Raises ValueError for a negative argument or a PUE below 1.
    """
    if energy_uj < 0 or intensity_mg_per_kwh < 0 or pue_permille < 1000:
        raise ValueError("energy and intensity are not negative and PUE is at least 1000 permille")
    # uJ x permille x mg/kWh / (uJ/kWh) is permille of mg, that is micrograms.
    quotient, remainder = divmod(energy_uj * pue_permille * intensity_mg_per_kwh, UJ_PER_KWH)
    doubled = 2 * remainder
    if doubled > UJ_PER_KWH or (doubled == UJ_PER_KWH and quotient % 2):
        quotient += 1
    return quotient
