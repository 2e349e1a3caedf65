"""Which units the time ranges of a question are read from. Stored units are looked up once for all ranges."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa

from carbonbudget_operator.ledger.fact_reader import hours_with_facts
from carbonbudget_operator.ledger.stored_units import DAYS, HOURS, NAMESPACE_DAYS, StoredUnits
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valued_hours.unit_calendar import Key, plan_units, signatures


class PlannedUnit(NamedTuple):
    """A unit to read. `is_stored`: from the stored unit, else from facts. Other facts make another signature."""

    key: Key
    signature: str
    is_stored: bool


class ReadingPlans:
    """The units that any span inside [start, end) is read from, in one snapshot."""

    def __init__(self, connection: sa.Connection, stored_units: StoredUnits, start: int, end: int) -> None:
        self.revisions = hours_with_facts(connection, start, end)
        self._hours = list(self.revisions)
        # A unit that reaches beyond [start, end) gets another signature than the stored one: it is not read.
        self._wanted = signatures(self.revisions)
        stored = stored_units.signatures(connection, start - start % HOUR, end) if self._hours else {}
        self._valid = {key: sign for key, sign in stored.items() if self._wanted.get(key) == sign}
        self._summed_days = {
            at
            for (level, at), sign in self._valid.items()
            if level == DAYS and stored.get((NAMESPACE_DAYS, at)) == stored_units.namespace_signature(sign)
        }
        self._plans: dict[tuple[int, int], list[PlannedUnit]] = {}

    def units(self, start: int, end: int) -> list[PlannedUnit]:
        """The fewest units that cover [start, end), in order of time."""
        if (start, end) not in self._plans:
            keys = plan_units(start, end, self.hours(start, end), self._valid) if start < end else []
            self._plans[(start, end)] = [PlannedUnit(key, self._wanted[key], key in self._valid) for key in keys]
        return self._plans[(start, end)]

    def sums_by_namespace(self, units: Iterable[Key]) -> list[Key]:
        """These units, with stored sums by namespace in place of the days that have them."""
        return [
            (NAMESPACE_DAYS, at) if level == DAYS and at in self._summed_days else (level, at) for level, at in units
        ]

    def hours(self, start: int, end: int) -> list[int]:
        """The hours with facts that [start, end) touches."""
        return self._hours[bisect_left(self._hours, start - start % HOUR) : bisect_left(self._hours, end)]

    def forget(self) -> None:
        """Drop the plans of the spans that were asked for."""
        self._plans.clear()

    def hour(self, hour: int) -> PlannedUnit:
        """One hour that may have facts."""
        key = (HOURS, hour)
        return PlannedUnit(key, self._wanted[key], key in self._valid)
