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

    Traffic that grows raises `saved_ug` while emissions rise too: credits take the smaller of the first two. The
    absolute fall needs no units, so it is of all hours: what is left out of the ratio is not saved.
    """
    emitted_ug = baseline.at_its_grid(window)
    if emitted_ug is None:
        return None
    would_ug = int(baseline.rate_ug * window.units_micro / (per * MICRO))
    sums = baseline.sums
    if sums is None:
        return WindowSavings(would_ug - emitted_ug, 0, 0)
    would_uj = sums.energy_uj * window.units_micro // sums.units_micro
    return WindowSavings(
        would_ug - emitted_ug, _absolute_fall_ug(sums, window, emitted_ug), would_uj - window.energy_uj
    )


def _absolute_fall_ug(baseline: UnitSums, window: UnitSums, emitted_ug: int) -> int:
    """The baseline's emissions by time for as many hours, less all that the window emitted at the baseline's grid.

    `emitted_ug`: the part of it whose units are known. Where all emissions of a span are not known, its known hours
    stand for it.
    """
    all_before_ug, hours_before = baseline.all_emissions_ug, baseline.hours
    if all_before_ug is None:
        all_before_ug, hours_before = baseline.emissions_ug, baseline.known_hours
    hours = window.known_hours
    if window.all_emissions_ug is not None:
        hours = window.hours
        # No grid is known of what has no units: it is taken to have that of the rest, rounded up.
        if window.emissions_ug:
            emitted_ug = -(-emitted_ug * max(window.all_emissions_ug, window.emissions_ug) // window.emissions_ug)
        else:
            emitted_ug += window.all_emissions_ug
    by_time_ug = all_before_ug * hours // hours_before if hours_before else 0
    return by_time_ug - emitted_ug
