"""Reads valued rows of any span: from stored units where these are valid, else from facts.

Both the server's answers and the offline commands read here, so they agree to the last microgram.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from carbonbudget_operator.carbon.basis_split import other_basis
from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityHours
from carbonbudget_operator.ledger.applied_factors import AppliedFactors
from carbonbudget_operator.ledger.fact_reader import read_hour
from carbonbudget_operator.ledger.facts import NodeSlice
from carbonbudget_operator.ledger.intensity_store import load_intensities
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.ledger.stored_units import HOURS, TOGETHER, ColumnSums, StoredUnits
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unreadable_rows import left_out
from carbonbudget_operator.ledger.valued_rows import ValuedRow, ValuedUnit, rows_within
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valuation.derivation import describe
from carbonbudget_operator.valuation.valuation_terms import terms_of
from carbonbudget_operator.valued_hours.reading_plans import ReadingPlans
from carbonbudget_operator.valued_hours.unit_calendar import Key, unit_end

_CACHED_ROWS = 300_000  # some 700 bytes each
_MAX_FIGURE = 2**61  # a database adds up three components of a row in 64 bits
SEALED_NODE = "__sealed__"


class ValuedReader:
    """Units of a cluster under one derivation. `terms` is what each hour is valued by."""

    def __init__(self, engine: sa.Engine, settings: Settings, cached_rows: int = _CACHED_ROWS) -> None:
        """`cached_rows`: how many rows of the latest questions' units stay in memory."""
        self.engine, self.cluster = engine, settings.cluster
        self.terms = terms_of(settings)
        self.derived = StoredUnits(engine, describe(settings))
        self._cache = _Cache(cached_rows)

    def on(self, engine: sa.Engine) -> ValuedReader:
        """A copy of this reader on other connections to the same ledger; cached units are shared."""
        other = copy.copy(self)
        other.engine = engine
        return other

    def plans(self, connection: sa.Connection, start: int, end: int) -> ReadingPlans:
        """Which units any time range inside [start, end) is read from."""
        return ReadingPlans(connection, self.derived, start, end)

    def units(self, connection: sa.Connection, start: int, end: int) -> dict[Key, tuple[str, bool]]:
        """The units that [start, end) is read from: each one's signature, and whether it is stored."""
        planned = self.plans(connection, start, end).units(start, end)
        return {key: (signature, is_stored) for key, signature, is_stored in planned}

    def unit(self, connection: sa.Connection, key: Key, signature: str, is_stored: bool) -> ValuedUnit:
        """One unit's rows."""
        cached = self._cache.get(key)
        if cached is not None and cached[0] == signature:
            return cached[1]
        unit = self.read(connection, key, is_stored)
        self._cache.put(key, signature, unit)
        return unit

    def read(self, connection: sa.Connection, key: Key, is_stored: bool) -> ValuedUnit:
        """As `unit`, for a caller that needs each unit once: it is not cached."""
        return self.derived.load(connection, *key) if is_stored else self.make(connection, key[1])

    def make(self, connection: sa.Connection, hour: int) -> ValuedUnit:
        """An hour from its facts; a sealed one from the rows that it was sealed with."""
        sealed = sealed_hours(connection, self.cluster, hour, hour + 1)
        if sealed:
            return self.derived.load(connection, HOURS, hour, sealed[hour])
        slices, rows = self.value(connection, hour)
        applied = self.terms.at(hour).valuer.applied(slices, self.grid(connection, hour))
        return ValuedUnit(HOURS, hour, rows, _reported(slices), applied)

    def applied(self, connection: sa.Connection, key: Key, unit: ValuedUnit) -> list[AppliedFactors]:
        """The numbers by which the hours of a unit were valued; of a longer unit, those of its stored hours."""
        level, start = key
        return unit.applied if level == HOURS else self.derived.applied(connection, start, unit_end(start, level))

    def value(
        self, connection: sa.Connection, hour: int, by_node: bool = False
    ) -> tuple[list[NodeSlice], list[ValuedRow]]:
        """An hour's node slices and their rows. A node that cannot be valued is left out, the others are not."""
        slices = read_hour(connection, self.cluster, hour)
        hours, valuer = self.grid(connection, hour), self.terms.at(hour).valuer
        try:
            rows = valuer.value(slices, by_node, hours)
            if _fit(rows):
                return slices, rows
        except (ArithmeticError, LookupError, TypeError, ValueError):
            pass  # looked for below, node by node
        most = _MAX_FIGURE // len(slices)
        sound: list[NodeSlice] = []
        for slice_ in slices:
            try:
                reason = "" if _fit(valuer.value([slice_], by_node, hours), most) else "its figures are too large"
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                reason = f"it cannot be valued: {error!r}"
            if reason:
                left_out.node_hour(slice_.node.name, slice_.node.id, slice_.start, reason)
            else:
                sound.append(slice_)
        return sound, valuer.value(sound, by_node, hours)

    def valued_uj(self, connection: sa.Connection, hour: int) -> int:
        """The microjoules of an hour that were measured on nodes that can be valued."""
        slices, _ = self.value(connection, hour)
        return sum(domain.measured_uj for slice_ in slices for domain in slice_.domains.values())

    def grid(
        self, connection: sa.Connection, hour: int, start: int | None = None, end: int | None = None
    ) -> IntensityHours | None:
        """The hourly intensities for an hour, with earlier ones that may stand in; None without sources.

        `start`, `end`: for the hours of [start, end) by the settings in force at `hour`.

        What the settings state is taken from the settings in force at the hour, never from the ledger: so a
        figure and its source change together, and it reaches every zone and hour.
        """
        terms = self.terms.at(hour)
        carbon = terms.carbon
        sources, age = carbon.intensity.sources, carbon.intensity.max_age_hours
        if not sources:
            return None
        span = (hour if start is None else start) - age * HOUR, hour + HOUR if end is None else end
        series = load_intensities(connection, carbon.basis, *span)
        words = {source.name: source.words for source in sources}
        others = load_intensities(connection, other_basis(carbon.basis), *span) if carbon.intensity.both_bases else None
        return IntensityHours(series, words, age, carbon.basis, others, terms.stated)

    def rows(self, start: int, end: int, by_node: bool = False) -> Iterator[ValuedRow]:
        """Rows that add up to [start, end), as `rows_in` reads them, in a snapshot of their own."""
        with snapshot(self.engine) as connection:
            yield from self.rows_in(connection, self.plans(connection, start, end), start, end, by_node)

    def rows_in(
        self, connection: sa.Connection, plans: ReadingPlans, start: int, end: int, by_node: bool = False,
        namespaces: Collection[str] | None = None, column_sums: ColumnSums = TOGETHER, by_namespace: bool = False,
    ) -> Iterator[ValuedRow]:  # fmt: skip
        """Rows that add up to [start, end), a part of the plans' span. `namespaces`: of these only.

        `by_node`: the rows of each node are separate. Nodes of sealed hours are not known any more.
        `by_namespace`: only the namespace of a row may be used. Rows of stored units have nothing else.
        Rows of stored units have the columns that `column_sums` names, the others have all. A slice that straddles a
        boundary counts pro rata in time.
        """
        found = (
            self._rows_by_node(connection, plans, start, end)
            if by_node
            else self._rows(connection, plans, start, end, namespaces, column_sums, by_namespace)
        )
        yield from found if namespaces is None else (row for row in found if row.namespace in namespaces)

    def hour_rows(
        self, connection: sa.Connection, plans: ReadingPlans, start: int, end: int,
        namespaces: Collection[str] | None, containing: str,
    ) -> Iterator[ValuedRow]:  # fmt: skip
        """The rows of the whole hours [start, end) one by one, of groups whose labels as JSON contain that text."""
        stored, others = self._hours_apart(connection, plans, start, end)
        yield from self.derived.hour_rows(connection, stored, namespaces, containing)
        for unit in others:
            yield from (row for row in unit.rows if _is_of(row, namespaces, containing))

    def extents(
        self, connection: sa.Connection, plans: ReadingPlans, start: int, end: int,
        namespaces: Collection[str] | None, containing: str,
    ) -> Iterator[tuple[str, Mapping[str, str], int, int]]:  # fmt: skip
        """Namespace, labels, first start and last end of these groups' rows; a group is there once or more often."""
        stored, others = self._hours_apart(connection, plans, start, end)
        yield from self.derived.extents(connection, stored, namespaces, containing)
        for unit in others:
            for row in unit.rows:
                if _is_of(row, namespaces, containing):
                    yield row.namespace, row.labels, row.start, row.end

    def _hours_apart(
        self, connection: sa.Connection, plans: ReadingPlans, start: int, end: int
    ) -> tuple[list[int], Iterator[ValuedUnit]]:
        """The stored hours of [start, end), and the units of the others, each read when it is its turn."""
        planned = [plans.hour(hour) for hour in plans.hours(start, end)]
        stored = [its.key[1] for its in planned if its.is_stored]
        return stored, (self.unit(connection, *its) for its in planned if not its.is_stored)

    def reported_ms(self, start: int, end: int) -> int:
        """How many node-milliseconds of [start, end) were reported."""
        with snapshot(self.engine) as connection:
            return self.reported_ms_in(connection, self.plans(connection, start, end), [(start, end)])[0]

    def reported_ms_in(
        self, connection: sa.Connection, plans: ReadingPlans, parts: Sequence[tuple[int, int]]
    ) -> list[int]:
        """The reported node-milliseconds in each part [start, end) of the plans' span."""
        units = [plans.units(*part) for part in parts]
        found = self.derived.reported(connection, {its.key for of in units for its in of if its.is_stored})
        return [
            sum(
                ms * max(0, min(until, end) - max(since, start)) // (until - since)
                for its in of
                for since, until, ms in (found[its.key] if its.is_stored else self.unit(connection, *its).reported)
            )
            for (start, end), of in zip(parts, units, strict=True)
        ]

    def _rows(
        self, connection: sa.Connection, plans: ReadingPlans, start: int, end: int,
        namespaces: Collection[str] | None, column_sums: ColumnSums, by_namespace: bool,
    ) -> Iterator[ValuedRow]:  # fmt: skip
        units = plans.units(start, end)
        whole = {
            its.key
            for its in units
            if its.is_stored and its.key[1] >= start and unit_end(its.key[1], its.key[0]) <= end
        }
        read = plans.sums_by_namespace(whole) if by_namespace else sorted(whole)
        try:
            yield from self.derived.total(connection, read, start, end, namespaces, column_sums, by_namespace)
        except OverflowError:  # more than 2.5 GWh in one sum: added up here, where numbers have no end
            whole = set()
        for its in units:
            if its.key not in whole:
                yield from rows_within(self.unit(connection, *its).rows, start, end)

    def _rows_by_node(
        self, connection: sa.Connection, plans: ReadingPlans, start: int, end: int
    ) -> Iterator[ValuedRow]:
        sealed = sealed_hours(connection, self.cluster, start - HOUR, end)
        for hour in plans.hours(start, end):
            if hour in sealed:
                rows = [replace(row, node=SEALED_NODE) for row in self.make(connection, hour).rows]
            else:
                _, rows = self.value(connection, hour, by_node=True)
            yield from rows_within(rows, start, end)


class _Cache:
    """Caches the units of the latest questions, each with its signature. Threads share it."""

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._units: dict[Key, tuple[str, ValuedUnit]] = {}
        self._rows = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> tuple[str, ValuedUnit] | None:
        with self._lock:
            return self._units.get(key)

    def put(self, key: Key, signature: str, unit: ValuedUnit) -> None:
        with self._lock:
            previous = self._units.pop(key, None)
            self._rows += len(unit.rows) - (len(previous[1].rows) if previous else 0)
            self._units[key] = (signature, unit)
            while self._rows > self._most_rows and len(self._units) > 1:
                _, oldest = self._units.pop(next(iter(self._units)))
                self._rows -= len(oldest.rows)


def _is_of(row: ValuedRow, namespaces: Collection[str] | None, containing: str) -> bool:
    if row.special or (namespaces is not None and row.namespace not in namespaces):
        return False
    return not containing or containing in json.dumps(dict(row.labels), sort_keys=True, separators=(",", ":"))


def _fit(rows: Iterable[ValuedRow], most: int = _MAX_FIGURE) -> bool:
    """Whether a database can hold each figure."""
    return all(max(row.figures) <= most for row in rows)


def _reported(slices: Iterable[NodeSlice]) -> list[tuple[int, int, int]]:
    """Start, end and node-milliseconds of which all energy was reported, by the time in which they should have been."""
    found: dict[tuple[int, int], int] = {}
    for slice_ in slices:
        start = min(max(slice_.start, slice_.reported_from), slice_.end - 1)
        span_ms = (slice_.end - start) * 1000
        key = (start, slice_.end)
        found[key] = found.get(key, 0) + min(slice_.covered_ms, span_ms)
    return [(start, end, ms) for (start, end), ms in sorted(found.items())]
