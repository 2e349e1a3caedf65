"""Settled use: the use in hours that are over. It shows whether a change is new use, a revised factor or lost facts.

Only a late report changes the facts of these hours, and it adds energy. So if the grams change and the energy does
not, a factor was revised. If the energy falls, the ledger has lost facts.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.budgets.period import Period

_HOUR = 3600
# A late report of other pods can move a little energy of a shared namespace away from a budget. A loss is larger.
_LOST_BELOW_PERCENT = 99


@dataclass(frozen=True, slots=True)
class SettledUse:
    """Use before `through` (UTC seconds, a whole hour), as valued at the last evaluation. Micrograms, microjoules."""

    through: int
    used_ug: int
    energy_uj: int


@dataclass(frozen=True, slots=True)
class SettledComparison:
    """The result of a comparison. `revision_ug`: what revised factors changed. `lost`: the ledger has lost facts."""

    settled: SettledUse
    revision_ug: int
    lost: bool


def compare_settled(previous: SettledUse, used_ug: int, energy_uj: int) -> SettledComparison:
    """Compare the previous settled use with the server's present figures of the same hours."""
    if energy_uj * 100 < previous.energy_uj * _LOST_BELOW_PERCENT:
        return SettledComparison(previous, 0, lost=True)  # the ledger may be restored
    revision_ug = used_ug - previous.used_ug if energy_uj == previous.energy_uj else 0
    return SettledComparison(SettledUse(previous.through, used_ug, energy_uj), revision_ug, lost=False)


def settled_hour_end(period: Period, data_through: int) -> int:
    """The end of the last settled hour of the period, if every node has reported up to `data_through`.

    UTC seconds; 0 while its first hour is not settled.
    """
    through = min(data_through, period.end) // _HOUR * _HOUR
    return through if through > period.start else 0
