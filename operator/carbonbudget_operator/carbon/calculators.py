"""Estimates the emissions of planned work by the formulas of two known calculators. Pure.

Green Algorithms (Lannelongue, Grealey, Inouye 2021, doi:10.1002/advs.202100707):

    energy = hours x (cores x W per core x usage + GPUs x W x usage + GB x 0.3725 W) x PUE x PSF

ML CO2 Impact (Lacoste et al. 2019, arXiv:1910.09700): energy = hours x W of the device; no PUE, host or idle.
Both: emissions = energy x intensity. The pragmatic scaling factor (PSF) is the number of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.carbon.emissions_formula import emissions_ug

GREEN_ALGORITHMS: Final = "Green Algorithms"
ML_CO2: Final = "ML CO2 Impact"
_MEMORY_UW_PER_GB: Final = 372_500
CORE_MW: Final = 12_000  # Green Algorithms' figure for an unknown CPU
# Green Algorithms' default, used if no PUE is known for the place.
UNKNOWN_PUE_PERMILLE: Final = 1670


@dataclass(frozen=True, slots=True)
class EstimateInput:
    """The planned work. Power is in milliwatts for each device or core; usage is in thousandths."""

    duration_ms: int
    gpus: int = 0
    gpu_mw: int = 0
    cores: int = 0
    core_mw: int = CORE_MW
    memory_mb: int = 0
    usage_permille: int = 1000
    runs: int = 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """The result of one formula: microjoules and micrograms of CO2e."""

    method: str
    energy_uj: int
    emissions_ug: int


def green_algorithms(plan: EstimateInput, pue_permille: int, mg_per_kwh: int) -> Estimate:
    """Estimate by Green Algorithms. The energy includes PUE."""
    devices_mw = (plan.gpus * plan.gpu_mw + plan.cores * plan.core_mw) * plan.usage_permille // 1000
    memory_mw = plan.memory_mb * _MEMORY_UW_PER_GB // 1_000_000
    energy_uj = plan.duration_ms * (devices_mw + memory_mw) * plan.runs * pue_permille // 1000  # ms x mW = uJ
    return Estimate(GREEN_ALGORITHMS, energy_uj, emissions_ug(energy_uj, 1000, mg_per_kwh))


def ml_co2(plan: EstimateInput, mg_per_kwh: int) -> Estimate:
    """Estimate by ML CO2 Impact: GPUs at full power, without PUE, host and idle energy."""
    energy_uj = plan.duration_ms * plan.gpus * plan.gpu_mw * plan.runs
    return Estimate(ML_CO2, energy_uj, emissions_ug(energy_uj, 1000, mg_per_kwh))
