"""How a revised factor is told from new use, and a lost ledger from both.

Facts of hours that are over change only by late reports, which bring energy. So the grams of settled hours
that differ at the very same energy are a revision of factors; less energy there than before is a ledger
that lost facts.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.budgets.period import Period

_HOUR = 3600
# Late reports of others may take a little of a shared namespace's energy off a budget; a loss takes more.
_LOST_BELOW_PERCENT = 99


@dataclass(frozen=True, slots=True)
class SettledUse:
    """Use before `through` (UTC seconds, a whole hour), as it was valued when last judged."""

    through: int
    used_ug: int
    energy_uj: int


@dataclass(frozen=True, slots=True)
class SettledComparison:
    """What became of the settled part. `revision_ug`: what revised factors changed; `lost`: facts are gone."""

    settled: SettledUse
    revision_ug: int
    lost: bool


def compare_settled(previous: SettledUse, used_ug: int, energy_uj: int) -> SettledComparison:
    """The previous settled part against what the server says of the same hours now."""
    if energy_uj * 100 < previous.energy_uj * _LOST_BELOW_PERCENT:
        return SettledComparison(previous, 0, lost=True)  # what was known stays known: it may be restored
    revision_ug = used_ug - previous.used_ug if energy_uj == previous.energy_uj else 0
    return SettledComparison(SettledUse(previous.through, used_ug, energy_uj), revision_ug, lost=False)


def settled_through(period: Period, data_through: int) -> int:
    """Up to which whole hour the period's facts are settled when every node has reported up to `data_through`.

    0 while not even its first hour is.
    """
    through = min(data_through, period.end) // _HOUR * _HOUR
    return through if through > period.start else 0
