"""The baseline of a target: its rate, its grid, when it may be frozen, and the hash of what it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from carbonbudget_operator.targets.unit_sums import UnitSums, format_units, rate_ug

LEAST_KNOWN_PERCENT: Final = 50
# Of the nodes' time. Emissions that nobody reported would make a figure better: with less than half there is none.
LEAST_COVERAGE_PERCENT: Final = 50
# As for what a budget carries over: missing reports must not become an allowance.
WHOLE_COVERAGE_PERCENT: Final = 95
# A baseline with missing hours or reports is frozen when it has waited so long: they may still come.
PARTIAL_AFTER_S: Final = 2 * 86400
_LENGTH: Final = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class TargetBaseline:
    """What the fall is measured from.

    `rate_ug`: micrograms per `unit.per` units. `sums`: of its span; None where spec.baseline.value states the rate.
    `path_start`: where a linear path begins, in UTC seconds.
    """

    rate_ug: Fraction
    sums: UnitSums | None
    path_start: int

    def at_its_grid(self, window: UnitSums) -> int | None:
        """The window's micrograms if its energy had been valued with the baseline's grid; rounded down.

        Its embodied part stays. None if it has energy and the baseline has none, so that no grid is known. Without a
        measured span it is what the window emitted.
        """
        if self.sums is None:
            return window.emissions_ug
        if not window.energy_uj:
            return window.embodied_ug
        if not self.sums.energy_uj:
            return None
        return window.energy_uj * self.sums.operational_ug // self.sums.energy_uj + window.embodied_ug


def measured_baseline(sums: UnitSums, per: int, end: int) -> TargetBaseline:
    """The baseline of a measured span that ended at `end`. Raises ZeroDivisionError without units."""
    return TargetBaseline(rate_ug(sums.emissions_ug, sums.units_micro, per), sums, end)


def stated_baseline(value_ug: int, created: int) -> TargetBaseline:
    """The baseline that a spec states in micrograms. Its path begins when the target was `created`."""
    return TargetBaseline(Fraction(value_ug), None, created)


def not_yet_frozen(
    sums: UnitSums,
    end: int,
    through: int,
    waited_s: int,
    minimum_units_micro: int,
    missing: str = "",
    coverage_percent: int = 100,
) -> str:
    """Why the baseline of a span cannot be frozen now, in a sentence; empty if it can.

    `through`: up to when there are data. `waited_s`: how long it has been asked for in vain. `missing`: why units are.
    `coverage_percent`: of the nodes' time that was reported.
    """
    why = f": {missing}" if missing else ""
    if through < end:
        return "the baseline's span is not over"
    if sums.known_percent < LEAST_KNOWN_PERCENT:
        return f"{sums.known_text} of the baseline are known, half is needed{why}"
    if sums.known_hours < sums.hours and waited_s < PARTIAL_AFTER_S:
        return f"units of {sums.hours - sums.known_hours} of the {sums.hours} hours of the baseline are missing{why}"
    if coverage_percent < LEAST_COVERAGE_PERCENT:
        return f"{coverage_percent} % of the nodes' time was reported in the baseline's span, half is needed"
    if coverage_percent < WHOLE_COVERAGE_PERCENT and waited_s < PARTIAL_AFTER_S:
        return f"{coverage_percent} % of the nodes' time was reported in the baseline's span: reports may still come"
    if not sums.units_micro:
        return "no units were counted in the baseline's span: choose another span"
    if sums.units_micro < minimum_units_micro:
        return (
            f"{format_units(sums.units_micro)} units were counted in the baseline's span, fewer than minimumUnits: "
            "choose a longer span"
        )
    if not sums.emissions_ug:
        return "nothing was emitted in the baseline's span, and nothing can fall below that: choose another span"
    return ""


def restated_rate(frozen: UnitSums, now: UnitSums, per: int) -> Fraction | None:
    """What the baseline would be by today's factors. None if it is the same, or if the units of its hours differ."""
    if now.units_micro != frozen.units_micro or not now.units_micro or now.emissions_ug == frozen.emissions_ug:
        return None
    return rate_ug(now.emissions_ug, now.units_micro, per)


def baseline_hash(counted: str, per: int, source: Mapping[str, object], baseline: Mapping[str, object]) -> str:
    """16 hexadecimal digits of the SHA-256 of what a baseline depends on. It is stored, so it must never change.

    `counted`: `counted_hash` of selectors, include and accounting. `source` and `baseline`: the spec's, as JSON. The
    unit's name is not part of it: another word for the same units changes no figure.
    """
    parts = {"baseline": baseline, "counted": counted, "per": per, "source": source}
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_LENGTH]
