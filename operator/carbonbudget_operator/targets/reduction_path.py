"""The path of a target: which reduction of the baseline is expected at which time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

PathName = Literal["Linear", "Stepped", "AtEnd"]
_WHOLE = 100


@dataclass(frozen=True, slots=True)
class ReductionPath:
    """`percent` of the baseline are to be saved from `by` on. Times are UTC seconds.

    `start`: where a linear path begins. `steps`: (time, per cent) in ascending order, for a stepped path.
    """

    name: PathName
    start: int
    by: int
    percent: int
    steps: tuple[tuple[int, int], ...] = ()

    def reduction(self, at: int) -> Fraction:
        """Per cent of the baseline that are expected to be saved at `at`: never less at a later time."""
        if at >= self.by:
            return Fraction(self.percent)
        if self.name == "Linear" and at <= self.start:
            return Fraction(0)
        match self.name:
            case "Linear":
                return Fraction(self.percent * (at - self.start), self.by - self.start)
            case "Stepped":
                return Fraction(max((percent for by, percent in self.steps if by <= at), default=0))
            case "AtEnd":
                return Fraction(0)

    def expected(self, baseline_ug: Fraction, at: int) -> Fraction:
        """Micrograms per unit that the path allows at `at`."""
        return baseline_ug * (_WHOLE - self.reduction(at)) / _WHOLE

    def final(self, baseline_ug: Fraction) -> Fraction:
        """Micrograms per unit with the whole reduction."""
        return baseline_ug * (_WHOLE - self.percent) / _WHOLE
