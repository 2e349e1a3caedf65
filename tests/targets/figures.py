"""Sums, baselines and paths for the tests of targets, by hand and at random."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from carbonbudget_operator.targets.reduction_path import ReductionPath
from carbonbudget_operator.targets.target_baseline import TargetBaseline, measured_baseline
from carbonbudget_operator.targets.target_verdict import TargetTerms
from carbonbudget_operator.targets.unit_sums import MICRO, UnitSums

HOUR, DAY = 3600, 86400
START = 1_790_812_800  # 2026-10-01T00:00:00Z
BY = START + 100 * DAY
TERMS = TargetTerms(per=1000, minimum_units_micro=0, tolerance_percent=5, efficiency=False)
EFFICIENCY = TargetTerms(per=1000, minimum_units_micro=0, tolerance_percent=5, efficiency=True)
LINEAR = ReductionPath("Linear", START, BY, 20)


def sums(
    grams: int, units: int, embodied: int = 0, joules: int | None = None, hours: int = 24, known: int | None = None
) -> UnitSums:
    """Sums in grams, units and joules; a joule a gram where they are not given."""
    energy_uj = (grams if joules is None else joules) * 10**6
    return UnitSums(grams * 10**6, embodied * 10**6, energy_uj, units * MICRO, hours, hours if known is None else known)


def baseline(grams: int = 100, units: int = 1000, embodied: int = 0, joules: int | None = None) -> TargetBaseline:
    """100 g per 1000 units, by default at a gram a joule."""
    return measured_baseline(sums(grams, units, embodied, joules), TERMS.per, START)


def stated(grams: int) -> TargetBaseline:
    return TargetBaseline(Fraction(grams * 10**6), None, START)


def together(first: UnitSums, second: UnitSums) -> UnitSums:
    """The sums of two spans."""
    return UnitSums(
        first.emissions_ug + second.emissions_ug,
        first.embodied_ug + second.embodied_ug,
        first.energy_uj + second.energy_uj,
        first.units_micro + second.units_micro,
        first.hours + second.hours,
        first.known_hours + second.known_hours,
    )


@st.composite
def some_sums(draw: st.DrawFn, least_units: int = 0) -> UnitSums:
    emissions = draw(st.integers(0, 10**15))
    hours = draw(st.integers(1, 9000))
    return UnitSums(
        emissions_ug=emissions,
        embodied_ug=draw(st.integers(0, emissions)),
        energy_uj=draw(st.integers(0, 10**18)),
        units_micro=draw(st.integers(least_units, 10**24)),
        hours=hours,
        known_hours=draw(st.integers(0, hours)),
    )


@st.composite
def some_paths(draw: st.DrawFn) -> ReductionPath:
    percent = draw(st.integers(1, 100))
    start, by = draw(st.integers(0, 2**33)), draw(st.integers(0, 2**33))
    name = draw(st.sampled_from(["Linear", "Stepped", "AtEnd"]))
    steps = sorted(draw(st.lists(st.tuples(st.integers(0, by), st.integers(1, percent)), max_size=5)))
    rising = tuple((at, step) for at, step in zip([s[0] for s in steps], sorted(s[1] for s in steps), strict=True))
    return ReductionPath(name, start, by, percent, rising if name == "Stepped" else ())  # type: ignore[arg-type]
