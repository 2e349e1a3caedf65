"""What decides the units of a day: facts, sealed hours, what counters counted and what pods posted.

A day that was read stays valid as long as these are the same.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.unit_hours import DAY, UnitDay, hours_of
from carbonbudget_operator.answers.unit_selection import UnitSelection, named
from carbonbudget_operator.ledger.labelled_units import (
    RegisteredCounter,
    counted_days,
    failed_hours,
    registered_counters,
    sealed_hours_of,
)
from carbonbudget_operator.ledger.posted_units import posted_revisions
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

SEALED: Final = "the pods of these hours are no longer stored, so their labels are not known (server.pod_days)"
_GIVEN_UP: Final = "the hour is older than units.give_up_days, after which Prometheus is not asked any more"
_NO_UNITS: Final = bytes(8 * 24)

Asked = tuple[UnitSelection, Collection[int]]  # with the days, numbers since 1970


@dataclass(frozen=True, slots=True)
class UnitDayFacts:
    """Those of the days of one question, by the number of the day."""

    revisions: Mapping[int, int]  # one number of all its hours' facts
    sealed: Collection[int]  # hours
    counters: Mapping[tuple[str, str], RegisteredCounter]
    letters: Mapping[tuple[int, int], str]  # of a counter's day: which hours are known, see `unit_days`
    failed: Mapping[tuple[int, int], Mapping[int, str]]  # why some of its hours are not
    posted_hours: Mapping[int, bytes]  # a byte for each hour: 1 where what pods posted can be read
    posted: Mapping[str, Mapping[tuple[str, int], int]]  # by name of the units: counts of a namespace on a day

    def signature(self, selection: UnitSelection, day: int) -> Hashable:
        """The same for the same units of a selection on a day."""
        if selection.client:
            return (self.revisions[day], self.posted_hours[day], self._counts(selection, day))
        counter = self.counters.get(selection.counter)
        at = (counter.id if counter is not None else 0, day * DAY)
        seen = (self.letters.get(at), tuple(self.failed.get(at, {}).items()))
        return (self.revisions[day], sum(hour in self.sealed for hour in hours_of(day)), counter, seen)

    def empty_day(self, selection: UnitSelection, day: int) -> UnitDay:
        """The day before its units are read. Which hours are known is known already of what pods post."""
        signature, units = self.signature(selection, day), array("q", _NO_UNITS)
        if selection.client:
            known = self.posted_hours[day]
            return UnitDay(signature, units, bytearray(known), {at: SEALED for at, its in enumerate(known) if not its})
        counter, reasons = self.counters.get(selection.counter), dict[int, str]()
        if counter is not None:
            reasons |= self.failed.get((counter.id, day * DAY), {})
            for at, hour in enumerate(hours_of(day)):
                if hour < counter.missing_before:
                    reasons.setdefault(at, _GIVEN_UP)
        return UnitDay(signature, units, bytearray(24), reasons)

    def is_empty(self, selection: UnitSelection, day: int) -> bool:
        """Whether the day needs not be read: no pod posted anything that can be read."""
        return bool(selection.client) and not (any(self._counts(selection, day)) and any(self.posted_hours[day]))

    def _counts(self, selection: UnitSelection, day: int) -> tuple[int, ...]:
        """How many counts each of the namespaces posted on the day."""
        counts = self.posted.get(selection.client, {})
        if EVERY_NAMESPACE in selection.namespaces:
            return tuple(its for (_, number), its in sorted(counts.items()) if number == day)
        return tuple(counts.get((name, day), 0) for name in selection.namespaces)


def read_unit_day_facts(
    connection: sa.Connection, cluster: str, asked: Sequence[Asked], revisions: Mapping[int, int], stored_from: int
) -> UnitDayFacts:
    """Read them for the days that are asked for, of which there is one at least.

    `revisions`: of the hours' facts. `stored_from`: the UTC second from which what pods posted is stored. Raises
    SQLAlchemyError.
    """
    days = {day for _, numbers in asked for day in numbers}
    start, end = min(days) * DAY, (max(days) + 1) * DAY
    sealed = sealed_hours_of(connection, cluster, start, end)
    counters = registered_counters(connection, cluster, {one.counter for one, _ in asked if not one.client})
    ids = {counter.id for counter in counters.values()}
    posted_hours = {day: bytes(hour not in sealed and hour >= stored_from for hour in hours_of(day)) for day in days}
    return UnitDayFacts(
        {day: hash(tuple(revisions.get(hour, 0) for hour in hours_of(day))) for day in days},
        sealed,
        counters,
        counted_days(connection, ids, start, end),
        failed_hours(connection, ids, start, end),
        posted_hours,
        _posted(connection, cluster, (one for one, _ in asked), {day for day in days if any(posted_hours[day])}),
    )


def _posted(
    connection: sa.Connection, cluster: str, selections: Iterable[UnitSelection], days: Collection[int]
) -> Mapping[str, Mapping[tuple[str, int], int]]:
    """What pods posted under each name of their own units on these days."""
    names: dict[str, set[str]] = defaultdict(set)
    for one in selections:
        if one.client:
            names[one.client].update(one.namespaces)
    if not days:
        return {}
    start, end = min(days) * DAY, (max(days) + 1) * DAY
    return {
        client: posted_revisions(connection, cluster, client, named(its), start, end) for client, its in names.items()
    }
