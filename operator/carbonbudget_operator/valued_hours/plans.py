"""The plan of one evaluation: which units it reads. Stored units are looked up once for all time ranges."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger.fact_reader import hours_with_facts
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import ValuedUnit
from carbonbudget_operator.valued_hours.unit_calendar import Key, plan_units, signatures
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """A unit to read. `is_stored`: from the stored unit, else from facts. Other facts make another signature."""

    key: Key
    signature: str
    is_stored: bool


class ReadingPlans:
    """The units that any span inside [start, end) is read from, in one snapshot."""

    def __init__(self, book: ValuedReader, connection: sa.Connection, start: int, end: int) -> None:
        self._book, self._connection = book, connection
        self.revisions = hours_with_facts(connection, start, end)
        self._hours = list(self.revisions)
        # A unit that reaches beyond [start, end) gets another signature than the stored one: it is not read.
        self._wanted = signatures(self.revisions)
        stored = book.derived.kept(connection, start - start % HOUR, end) if self._hours else {}
        self._valid = {key: sign for key, sign in stored.items() if self._wanted.get(key) == sign}
        self._plans: dict[tuple[int, int], list[PlannedUnit]] = {}

    def units(self, start: int, end: int) -> list[PlannedUnit]:
        """The fewest units that cover [start, end), in order of time."""
        if (start, end) not in self._plans:
            first, last = bisect_left(self._hours, start - start % HOUR), bisect_left(self._hours, end)
            keys = plan_units(start, end, self._hours[first:last], self._valid) if start < end else []
            self._plans[(start, end)] = [PlannedUnit(key, self._wanted[key], key in self._valid) for key in keys]
        return self._plans[(start, end)]

    def forget(self) -> None:
        """Drop the plans of the spans that were asked for."""
        self._plans.clear()

    def hour(self, hour: int) -> PlannedUnit:
        """One hour that may have facts."""
        key = (HOURS, hour)
        return PlannedUnit(key, self._wanted[key], key in self._valid)

    def load(self, planned: PlannedUnit) -> ValuedUnit:
        """A unit's rows."""
        return self._book.unit(self._connection, planned.key, planned.signature, planned.is_stored)
