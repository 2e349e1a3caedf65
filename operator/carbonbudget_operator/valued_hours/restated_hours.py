"""Restated hours: those whose figures changed because settings or bundled factors changed. Pure.

Only hours that are not sealed can change. Closed reports stay as they are (`report_comparison.py` compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from carbonbudget_operator.dated_settings import utc
from carbonbudget_operator.decimal_text import grams
from carbonbudget_operator.ledger.earlier_valuation import ValuedTotals
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valuation.derivation import BUNDLED, differences


@dataclass(slots=True)
class RestatedHours:
    """Hours with other figures than under the settings before; `described` is the present settings' description."""

    described: str
    hours: list[int] = field(default_factory=list)
    before: ValuedTotals = field(default_factory=ValuedTotals)
    after: ValuedTotals = field(default_factory=ValuedTotals)
    changes: list[str] = field(default_factory=list)

    def add(self, hour: int, earlier_description: str, before: ValuedTotals, after: ValuedTotals) -> None:
        """An hour that was valued again. One with the same figures, or with new facts, does not count."""
        if before == after or before.energy_uj != after.energy_uj:
            return
        self.hours.append(hour)
        self.before, self.after = self.before + before, self.after + after
        if not self.changes:
            self.changes = differences(earlier_description, self.described)

    def sentence(self) -> str:
        """One line for the log."""
        figures = [
            f"{name} {grams(one)} g -> {grams(other)} g"
            for name, one, other in (
                ("location-based", self.before.location_ug, self.after.location_ug),
                ("market-based", self.before.market_ug, self.after.market_ug),
                ("embodied", self.before.embodied_ug, self.after.embodied_ug),
            )
            if one != other
        ]
        what = f"{len(self.hours)} hours" if len(self.hours) > 1 else "1 hour"
        return (
            f"{what} between {utc(min(self.hours))} and {utc(max(self.hours) + HOUR)} restated: "
            f"{', '.join(figures) or 'shared out differently'}; changed: {_listed(self.changes)}{self._advice()}"
        )

    def _advice(self) -> str:
        if self.changes == [BUNDLED]:
            return ""
        return (
            "; to keep the past as it was, give the former value without valid_from and the new one with valid_from "
            "(docs/reference/settings.md)"
        )


def _listed(changes: Sequence[str]) -> str:
    return "; ".join(changes) or "settings"
