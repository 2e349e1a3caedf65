"""Sums rows of several units by group, so that a budget reads each of its groups once, however long its period is.

A thousand budgets ask for the same months each minute. Stored units change once an hour; the open hour changes each
minute, so its rows are summed separately. A namespace is summed when it is first asked for, so that the cost of a
budget depends on the rows of its own namespaces.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from carbonbudget_operator.budgets.coverage import Covers, Selector, among, selects
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow, ValuedUnit, sum_rows
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.valued_hours.reading_plans import PlannedUnit
from carbonbudget_operator.valued_hours.unit_calendar import unit_end

MAX_ROWS = 200_000  # some 700 bytes each
_MAX_SELECTED = 2_000_000  # references to rows, 8 bytes each
_PLANNED_A_ROW = 4  # units planned take as much memory as one row
_NO_FACTORS: frozenset[str] = frozenset()
Load = Callable[[PlannedUnit], ValuedUnit]


@dataclass(slots=True)
class SelectedGroups:
    """The groups that a selector picks in a namespace, and their sum."""

    rows: list[ValuedRow]
    figures: list[int] = field(default_factory=lambda: [0] * COLUMNS)
    factors: frozenset[str] = _NO_FACTORS

    def __post_init__(self) -> None:
        for row in self.rows:
            for column, figure in enumerate(row.figures):
                self.figures[column] += figure
            if not row.factors <= self.factors:
                self.factors |= row.factors


class MergedUnits:
    """Some units' rows in [start, end): one for each group, by namespace."""

    def __init__(self, units: Sequence[PlannedUnit], start: int, end: int) -> None:
        self.units, self._start, self._end = tuple(units), start, end
        self._rows: dict[str, list[ValuedRow]] = {}
        self._by_label: dict[tuple[str, str], dict[str, list[ValuedRow]]] = {}
        self._selections: dict[tuple[str, bytes], SelectedGroups] = {}
        self._selected = 0
        self._reported_ms: int | None = None

    @property
    def size(self) -> int:
        """The memory that it takes, in rows, approximately."""
        others = len(self.units) // _PLANNED_A_ROW + len(self._selections) + len(self._by_label)
        return sum(map(len, self._rows.values())) + others

    def reported_ms(self, load: Load) -> int:
        """Node-milliseconds that were reported; a slice that straddles the span counts pro rata."""
        if self._reported_ms is None:
            total = 0
            for planned in self.units:
                for start, end, ms in load(planned).reported:
                    overlap = min(end, self._end) - max(start, self._start)
                    if overlap > 0:
                        total += ms * overlap // (end - start)
            self._reported_ms = total
        return self._reported_ms

    def select(self, load: Load, namespace: str, selector: Selector | None, digest: bytes) -> SelectedGroups:
        """What `selector` picks in a namespace, `*` for all; `digest` is the selector's."""
        key = (namespace, digest)
        found = self._selections.get(key)
        if found is None:
            rows = self._candidates(load, namespace, selector)
            if selector is not None:
                rows = [row for row in rows if selects(selector, row.labels) is Covers.YES]
            self._selected += len(rows)
            if self._selected > _MAX_SELECTED:  # ten thousand selectors that pick all: found again when asked again
                self._selections, self._selected = {}, len(rows)
            found = self._selections[key] = SelectedGroups(rows)
        return found

    def _candidates(self, load: Load, namespace: str, selector: Selector | None) -> list[ValuedRow]:
        """The rows that may match: those with the rarest of the labels that must be equal, if there are such."""
        rows = self._namespace(load, namespace)
        if selector is None:
            return rows
        for name, value in selector.match_labels.items():
            key = (namespace, name)
            values = self._by_label.get(key)
            if values is None:
                values = {}
                for row in self._namespace(load, namespace):
                    if (its := row.labels.get(name)) is not None:
                        values.setdefault(its, []).append(row)
                self._by_label[key] = values
            rows = min(rows, values.get(value, []), key=len)
        return rows

    def _namespace(self, load: Load, namespace: str) -> list[ValuedRow]:
        if namespace != EVERY_NAMESPACE:
            return self._merge(load, namespace)
        names = {name for planned in self.units for name in load(planned).by_namespace if among((namespace,), name)}
        return [row for name in sorted(names) for row in self._merge(load, name)]

    def _merge(self, load: Load, namespace: str) -> list[ValuedRow]:
        found = self._rows.get(namespace)
        if found is not None:
            return found
        rows = (row for planned in self.units for row in load(planned).by_namespace.get(namespace, ()))
        return self._rows.setdefault(namespace, sum_rows(rows, self._start, self._end))


class MergeCache:
    """Caches the merged units of the latest questions; the least recently used is dropped first. Threads share it."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self.max_rows = max_rows
        self._known: dict[tuple[int, int, bool], MergedUnits] = {}
        self._lock = threading.Lock()

    def of(self, units: Sequence[PlannedUnit], start: int, end: int) -> Iterator[MergedUnits]:
        """The stored units of a time range, and those that are not stored; the second change each minute."""
        for is_stored in (True, False):
            part = [planned for planned in units if planned.is_stored is is_stored]
            if part:
                first, last = part[0].key, part[-1].key
                yield self._one(part, max(start, first[1]), min(end, unit_end(last[1], last[0])), is_stored)

    def _one(self, units: Sequence[PlannedUnit], start: int, end: int, is_stored: bool) -> MergedUnits:
        key = (start, end, is_stored)
        with self._lock:
            found = self._known.pop(key, None)
            if found is None or found.units != tuple(units):
                found = MergedUnits(units, start, end)
            self._known[key] = found  # the latest last
        return found

    def trim(self) -> None:
        """Drop what exceeds the limit."""
        with self._lock:
            sizes = {key: merged.size for key, merged in self._known.items()}
            total = sum(sizes.values())
            for key, size in sizes.items():
                if total <= self.max_rows and len(self._known) <= self.max_rows // 50:
                    return
                del self._known[key]
                total -= size
