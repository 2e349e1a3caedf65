"""Settled use: the use in hours that are over. It shows whether a change is new use, a revised factor or lost facts.

Only a late report changes the facts of these hours, and it adds energy. So if the grams change and the energy does
not, the hours were valued again. If the energy falls, the ledger has lost facts.

An hour is valued again for two reasons. A source published the hour's first figure of its own, and until then an
earlier one stood in: that makes the use known. Or a figure of its own was revised. Only the second is a revision.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.budgets.period import Period

_HOUR = 3600
# A late report of other pods can move a little energy of a shared namespace away from a budget. A loss is larger.
_LOST_BELOW_PERCENT = 99
# A source publishes an hour's figure some hours later. After 48 hours without one, later changes count as revisions.
FIGURES_WAIT_S = 48 * _HOUR


@dataclass(frozen=True, slots=True)
class OwnFigures:
    """The part of the settled use before `through` (UTC seconds, a whole hour): each hour has figures of its own."""

    through: int
    used_ug: int


@dataclass(frozen=True, slots=True)
class SettledUse:
    """Use before `through` (UTC seconds, a whole hour), as valued at the last evaluation. Micrograms, microjoules.

    `own`: the part of it whose hours have figures of their own; None if that is all of it.
    """

    through: int
    used_ug: int
    energy_uj: int
    own: OwnFigures | None = None

    @property
    def own_through(self) -> int:
        """Up to when the hours have figures of their own."""
        return self.own.through if self.own is not None else self.through

    @property
    def own_ug(self) -> int:
        """The use in these hours."""
        return self.own.used_ug if self.own is not None else self.used_ug


@dataclass(frozen=True, slots=True)
class SettledComparison:
    """The result of a comparison. `lost`: the ledger has lost facts.

    `revision_ug`: what revised factors changed. `first_figures_ug`: what first figures changed that replaced others.
    """

    settled: SettledUse
    revision_ug: int
    first_figures_ug: int
    lost: bool


def compare_settled(previous: SettledUse, used_ug: int, energy_uj: int, own_ug: int) -> SettledComparison:
    """Compare the previous settled use with the server's present figures of the same hours.

    `own_ug`: the present use before the same `own_through`.
    """
    if energy_uj * 100 < previous.energy_uj * _LOST_BELOW_PERCENT:
        return SettledComparison(previous, 0, 0, lost=True)  # the ledger may be restored
    own = OwnFigures(previous.own_through, own_ug) if previous.own is not None else None
    settled = SettledUse(previous.through, used_ug, energy_uj, own)
    if energy_uj != previous.energy_uj:
        return SettledComparison(settled, 0, 0, lost=False)
    revision_ug = settled.own_ug - previous.own_ug
    return SettledComparison(settled, revision_ug, used_ug - previous.used_ug - revision_ug, lost=False)


def settled_hour_end(period: Period, data_through: int) -> int:
    """The end of the last settled hour of the period, if every node has reported up to `data_through`.

    UTC seconds; 0 while its first hour is not settled.
    """
    through = min(data_through, period.end) // _HOUR * _HOUR
    return through if through > period.start else 0


def own_figures_end(settled_through: int, figures_through: int, previous: int) -> int:
    """Up to which whole hour, `settled_through` at most, the settled hours count as valued by figures of their own.

    `figures_through`: up to when the server has such figures. An hour that is `FIGURES_WAIT_S` older than the last
    settled one waits no more for its figure. `previous`: the last result, below which it does not fall.
    """
    waited = settled_through - FIGURES_WAIT_S
    return min(settled_through, max(figures_through // _HOUR * _HOUR, waited, previous))
