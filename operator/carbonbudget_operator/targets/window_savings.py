"""What a window saved against the baseline, at the baseline's grid."""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.targets.target_baseline import TargetBaseline
from carbonbudget_operator.targets.unit_sums import MICRO, UnitSums


@dataclass(frozen=True, slots=True)
class WindowSavings:
    """Negative: the window emitted more.

    `saved_ug`: the baseline's rate times the window's units, less the window. `absolute_fall_ug`: the baseline's
    emissions for as many hours, less the window; 0 without a measured baseline. `saved_uj`: energy as `saved_ug`.
    """

    saved_ug: int
    absolute_fall_ug: int
    saved_uj: int


def window_savings(baseline: TargetBaseline, window: UnitSums, per: int) -> WindowSavings | None:
    """What the window saved. None if the baseline has no grid at which the window's energy can be valued.

    Traffic that grows raises `saved_ug` while emissions rise too: credits take the smaller of the first two.
    """
    emitted_ug = baseline.at_its_grid(window)
    if emitted_ug is None:
        return None
    would_ug = int(baseline.rate_ug * window.units_micro / (per * MICRO))
    sums = baseline.sums
    if sums is None:
        return WindowSavings(would_ug - emitted_ug, 0, 0)
    by_time_ug = sums.emissions_ug * window.known_hours // sums.known_hours if sums.known_hours else 0
    would_uj = sums.energy_uj * window.units_micro // sums.units_micro
    return WindowSavings(would_ug - emitted_ug, by_time_ug - emitted_ug, would_uj - window.energy_uj)
