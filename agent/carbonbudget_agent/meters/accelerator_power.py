"""Idle and full power of accelerators by the name that the driver gives, for accelerators without a sensor.

Figures: accelerators.csv, each row with its source. A row without an idle figure uses the median of the
others: 12 % of full power.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from carbonbudget_core.bundled_tables import accelerator_rows

_IDLE_PERMILLE = 120
# Wider than the 32 % mean error that an instruction-level model of a GPU reaches (AccelWattch, as measured
# in arXiv 2603.26435): power by utilization alone is far less exact.
_ERROR_PERMILLE = 500
_FORMS = {"sxm": "sxm", "pcie": "pcie", "nvl": "nvl", "hbm3": "sxm"}  # "H100 80GB HBM3" is the SXM module


@dataclass(frozen=True, slots=True)
class AcceleratorPower:
    """One kind's figures in milliwatts, and its error in thousandths."""

    name: str
    idle_mw: int
    max_mw: int
    error_permille: int = _ERROR_PERMILLE


def find_accelerator(driver_name: str) -> AcceleratorPower | None:
    """The row whose model's words are all in the name; form and memory decide between rows of one model."""
    words = _words(driver_name)
    form = next((form for word, form in _FORMS.items() if any(w.startswith(word) for w in words)), "")
    best: tuple[int, dict[str, str]] | None = None
    for row in accelerator_rows():
        model = _words(row["model"]) - {"tesla"}
        if not model <= words:
            continue
        fit = 4 * len(model)
        fit += 2 * bool(form and row["form_factor"].lower().startswith(form)) + (f"{row['memory_gb']}gb" in words)
        fit += f"{row['memory_gb']}gb" in _words(row["form_factor"]) & words
        if best is None or fit > best[0]:
            best = fit, row
    if best is None:
        return None
    row = best[1]
    max_mw = int(row["max_mw"])
    return AcceleratorPower(
        f"{row['model']} {row['form_factor']}", int(row["idle_mw"] or max_mw * _IDLE_PERMILLE // 1000), max_mw
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower()))
