"""Energy and emissions as cells of an answer of /api/v1, each as a number and, exactly, as text. Pure."""

from __future__ import annotations

from carbonbudget_operator.answers.emission_series import Amounts
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.server.public.row_formats import Cell


def amount_cells(amounts: Amounts) -> dict[str, Cell]:
    """The cells of a run's figures and of a row of emissions, by the names of their columns."""
    return {
        "energy_kwh": amounts.energy_uj / UJ_PER_KWH,
        "energy_uj": str(amounts.energy_uj),
        "location_g": amounts.location_ug / 1_000_000,
        "location_ug": str(amounts.location_ug),
        "market_g": amounts.market_ug / 1_000_000,
        "market_ug": str(amounts.market_ug),
        "embodied_g": amounts.embodied_ug / 1_000_000,
        "embodied_ug": str(amounts.embodied_ug),
        "measured_percent": amounts.measured_percent,
    }
