"""The idle baseline: the learned idle power of a domain whose meter does not measure it. Stored over restarts.

This module is pure. It compares power with use, the busy share of the node's or a GPU's time. For each of twenty steps
of use it stores the lowest power of the last week by day, so that an old minimum expires: a new kernel or firmware may
change it. Idle power is where the flattest line below these points meets use 0. So a node that is never idle has a
baseline too, as soon as its use has varied. Until then idle power is 12 % of full power, which CPU packages (Teads' EC2
measurements, 0.11 to 0.15) and GPUs (accelerators.csv, median) have in common. The baseline changes slowly and never
jumps. Attribution limits it to the measured energy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_DAY_MS = 86_400_000
_DAYS = 7
_SHORTEST_TICK_MS = 900  # below it a counter's own update interval would show as a low power
_STEP_PERMILLE = 50
_SPREAD_PERMILLE = 100  # use must have varied this much before two points make a line
_IDLE_PERMILLE_OF_FULL = 120
_APPROACH_MS = 600_000  # the time in which the baseline covers 63 % of the distance to a new idle power


@dataclass(frozen=True, slots=True)
class Baseline:
    """Lowest power in milliwatts by day (UTC day number) and step of use; `idle_uw` is the present idle power.

    It is in microwatts, because in five seconds it changes by less than a hundredth of the difference.
    """

    lowest_mw: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    idle_uw: int = -1

    def seen(self, energy_uj: int, elapsed_ms: int, wall_ms: int, use_permille: int) -> Baseline:
        """The baseline after one more tick of `elapsed_ms` at a use of 0 to 1000."""
        if elapsed_ms < _SHORTEST_TICK_MS or energy_uj == 0:  # a counter that did not change shows nothing
            return self
        day, power_mw = wall_ms // _DAY_MS, energy_uj // elapsed_ms  # uJ / ms = mW
        step = min(1000, max(0, use_permille)) // _STEP_PERMILLE
        days = {d: steps for d, steps in self.lowest_mw.items() if day - _DAYS < d <= day}
        today = days.get(day, {})
        if power_mw < today.get(step, power_mw + 1):
            days[day] = {**today, step: power_mw}
        found_uw = _idle_mw(days) * 1000
        if self.idle_uw >= 0:
            found_uw = self.idle_uw + (found_uw - self.idle_uw) * elapsed_ms // (_APPROACH_MS + elapsed_ms)
        return Baseline(days, found_uw)

    def energy_uj(self, elapsed_ms: int) -> int:
        """The idle energy of `elapsed_ms`; 0 before the first measurement."""
        return max(0, self.idle_uw) * elapsed_ms // 1000


def _idle_mw(days: Mapping[int, Mapping[int, int]]) -> int:
    """Where the flattest line from the least used step through another one meets use 0."""
    lowest: dict[int, int] = {}
    for steps in days.values():
        for step, power_mw in steps.items():
            lowest[step] = min(power_mw, lowest.get(step, power_mw))
    first = min(lowest)
    floor_mw = min(lowest.values())
    if first == 0:
        return min(lowest[0], floor_mw)
    at = first * _STEP_PERMILLE
    least: tuple[int, int] | None = None  # the flattest line: milliwatts over permille of use
    for step, power_mw in lowest.items():
        rise, run = power_mw - lowest[first], (step - first) * _STEP_PERMILLE
        if run >= _SPREAD_PERMILLE and (least is None or rise * least[1] < least[0] * run):
            least = rise, run
    if least is not None:
        return max(0, min(floor_mw, lowest[first] - least[0] * at // least[1]))
    # P(u) = idle + (full - idle) u, with idle = 0.12 full
    idle, span = _IDLE_PERMILLE_OF_FULL, 1000 - _IDLE_PERMILLE_OF_FULL
    return floor_mw * idle * 1000 // (idle * 1000 + span * at)
