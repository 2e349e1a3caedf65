"""The verdict on a target: its figure in a window, what the path expects, and the state that follows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from carbonbudget_operator.targets.reduction_path import ReductionPath
from carbonbudget_operator.targets.target_baseline import LEAST_COVERAGE_PERCENT, LEAST_KNOWN_PERCENT, TargetBaseline
from carbonbudget_operator.targets.unit_sums import UnitSums, format_units, rate_ug


class TargetState(StrEnum):
    """The states of a target, from best to worst; NoData is outside that order."""

    ACHIEVED = "Achieved"
    ON_TRACK = "OnTrack"
    BEHIND = "Behind"
    VIOLATED = "Violated"
    NO_DATA = "NoData"


@dataclass(frozen=True, slots=True)
class TargetTerms:
    """What a spec says about judging.

    `per`: figures are per so many units. `tolerance_percent`: above the path. `efficiency`: whether the baseline's grid
    values the energy that is compared.
    """

    per: int
    minimum_units_micro: int
    tolerance_percent: int
    efficiency: bool


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """The result. Rates are exact micrograms per `per` units; None where there is none.

    `current`: what was emitted. `at_grid`: the same at the baseline's grid. `compared`: which of both the state is of.
    `reason`: why the state is NoData, in a sentence; empty otherwise.
    """

    state: TargetState
    current: Fraction | None = None
    at_grid: Fraction | None = None
    compared: Fraction | None = None
    expected: Fraction | None = None
    reduction: Fraction | None = None
    reason: str = ""


def without_figure(window: UnitSums, terms: TargetTerms, missing: str = "", coverage_percent: int = 100) -> str:
    """Why a window has no figure, in a sentence; empty if it has one.

    `missing`: why units are missing. `coverage_percent`: of the nodes' time that was reported.
    """
    why = f": {missing}" if missing else ""
    if not window.hours:
        return "no hour of the window is reported yet"
    if window.known_percent < LEAST_KNOWN_PERCENT:
        return f"{window.known_text} of the window are known, half is needed{why}"
    if coverage_percent < LEAST_COVERAGE_PERCENT:
        return (
            f"{coverage_percent} % of the nodes' time was reported in the window, half is needed: see the agents' log"
        )
    if not window.units_micro:
        return "no units were counted in the window"
    if window.units_micro < terms.minimum_units_micro:
        minimum = format_units(terms.minimum_units_micro)
        return f"{format_units(window.units_micro)} units were counted in the window, minimumUnits is {minimum}"
    # Only a query of the cluster kind counts units of no pod: with pods of another label they would cost nothing.
    if not window.energy_uj and not window.emissions_ug:
        return "units were counted, and no pod that spec.selector selects used energy: does it select those that serve?"
    return ""


def judge_target(
    terms: TargetTerms,
    path: ReductionPath,
    baseline: TargetBaseline | None,
    window: UnitSums,
    at: int,
    missing: str = "",
    no_baseline: str = "",
    coverage_percent: int = 100,
    other_method: str = "",
) -> TargetVerdict:
    """Judge a window that ends at `at` (UTC seconds). `missing`, `no_baseline`: why units or the baseline are missing.

    `coverage_percent`: of the nodes' time that was reported. `other_method`: why window and baseline do not compare.
    The state is never better with more emissions for the same units.
    """
    reason = without_figure(window, terms, missing, coverage_percent)
    current = None if reason else rate_ug(window.emissions_ug, window.units_micro, terms.per)
    if baseline is None:
        return TargetVerdict(TargetState.NO_DATA, current, reason=reason or no_baseline)
    reduction = path.reduction(at)
    expected = path.expected(baseline.rate_ug, at)
    if reason or other_method:
        return TargetVerdict(
            TargetState.NO_DATA, current, expected=expected, reduction=reduction, reason=reason or other_method
        )
    grid_ug = baseline.at_its_grid(window)
    at_grid = rate_ug(grid_ug, window.units_micro, terms.per) if grid_ug is not None else None
    compared = at_grid if terms.efficiency else current
    if compared is None:
        reason = "the baseline's span has no energy, so its grid is not known: write basis: Total or another span"
        return TargetVerdict(TargetState.NO_DATA, current, None, None, expected, reduction, reason)
    state = _state(compared, expected, path.final(baseline.rate_ug), terms.tolerance_percent)
    return TargetVerdict(state, current, at_grid, compared, expected, reduction)


def change_percent(compared: Fraction, baseline_ug: Fraction) -> str:
    """The change against the baseline in per cent with one decimal, rounded towards 0: "-12.5"; empty without one."""
    if not baseline_ug:
        return ""
    tenths = abs(compared - baseline_ug) * 1000 // baseline_ug
    sign = "-" if compared < baseline_ug and tenths else ""
    return f"{sign}{one_decimal(Fraction(tenths, 10))}"


def fall_percent(reduction: Fraction) -> str:
    """A fall by so many per cent with one decimal, rounded down: "-9.8", and "0.0" where nothing is left of it."""
    shown = one_decimal(reduction)
    return shown if shown == "0.0" else f"-{shown}"


def one_decimal(value: Fraction) -> str:
    """A value of at least 0 with one decimal, rounded down."""
    whole, tenth = divmod(value * 10 // 1, 10)
    return f"{whole}.{tenth}"


def _state(compared: Fraction, expected: Fraction, final: Fraction, tolerance_percent: int) -> TargetState:
    if compared <= final:
        return TargetState.ACHIEVED
    if compared <= expected:
        return TargetState.ON_TRACK
    if compared * 100 <= expected * (100 + tolerance_percent):
        return TargetState.BEHIND
    return TargetState.VIOLATED
