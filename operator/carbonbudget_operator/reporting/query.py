"""Queries: sums of valued rows for budgets and for allocation reports."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.api.query import BudgetAnswer, BudgetQuery
from carbonbudget_operator.ledger.facts import NodeSlice
from carbonbudget_operator.ledger.read import data_through, hours_with_facts, node_spans, read_hour
from carbonbudget_operator.reporting.numbers import grams, kilowatt_hours
from carbonbudget_operator.reporting.places import Places
from carbonbudget_operator.reporting.valued import (
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedRow,
    Valuer,
    within,
)
from carbonbudget_operator.settings import Settings

_CACHED_ROWS = 1_000_000  # some 600 bytes each
_LONGEST_WINDOW_SECONDS = 60
_COMPONENTS = {"Dynamic": 0, "Idle": 1, "Overhead": 2}


@dataclass(frozen=True, slots=True)
class _Hour:
    """One hour's rows by namespace, and each node's reported milliseconds by slice."""

    rows: dict[str, list[ValuedRow]]
    count: int
    reported_ms: dict[tuple[int, int, int], int]  # (node, slice start, slice end)


class Queries:
    """Reads hours, values them, remembers the result until the hour's facts change."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self._engine, self._cluster = engine, settings.cluster
        self._valuer = Valuer(Places(settings.carbon), settings.allocation.policy())
        self._cache: dict[int, tuple[int, _Hour]] = {}
        self._cached_rows = 0
        self._lock = threading.Lock()

    def rows(self, start: int, end: int, by_node: bool = False) -> Iterator[ValuedRow]:
        """All valued rows of [start, end), hour by hour; `by_node` keeps each node's apart.

        A slice that straddles a boundary counts pro rata in time.
        """
        with self._engine.connect() as connection:
            for hour, revision in hours_with_facts(connection, start, end).items():
                if by_node:
                    yield from within(self._valuer.value(read_hour(connection, self._cluster, hour), True), start, end)
                    continue
                for rows in self._hour(connection, hour, revision).rows.values():
                    yield from within(rows, start, end)

    def data_through(self) -> int:
        """The second up to which every node that reports has reported; 0 without a report."""
        with self._engine.connect() as connection:
            return data_through(node_spans(connection, self._cluster))

    def budgets(self, queries: Sequence[BudgetQuery]) -> list[BudgetAnswer]:
        """Each budget's answer, in order. One pass over the hours serves all of them."""
        if not queries:
            return []
        with self._engine.connect() as connection:
            spans = node_spans(connection, self._cluster)
            through = data_through(spans)
            start, end = min(q.start for q in queries), max(q.end for q in queries)
            hours = [
                self._hour(connection, hour, revision)
                for hour, revision in hours_with_facts(connection, start, min(end, through + 3600)).items()
            ]
        first = {span.node_id: span.first_start for span in spans}
        return [self._answer(query, hours, first, through) for query in queries]

    def _answer(self, query: BudgetQuery, hours: Iterable[_Hour], first: dict[int, int], through: int) -> BudgetAnswer:
        emissions = LOCATION_UG if query.accounting == "LocationBased" else MARKET_UG
        columns = [emissions.start + _COMPONENTS[name] for name in query.include if name in _COMPONENTS]
        columns += [EMBODIED_UG] * ("Embodied" in query.include)
        energies = [ENERGY_UJ.start + _COMPONENTS[name] for name in query.include if name in _COMPONENTS]
        namespaces = sorted(set(query.namespaces))
        used_ug = energy_uj = metered_uj = all_uj = 0
        factors: set[str] = set()
        reported_ms = 0
        end = min(query.end, max(through, query.start))
        for hour in hours:
            for namespace in namespaces:
                for row in within(hour.rows.get(namespace, ()), query.start, query.end):
                    if query.selector is not None and not query.selector.matches(row.labels):
                        continue
                    figures = row.figures
                    used_ug += sum(figures[column] for column in columns)
                    energy_uj += sum(figures[column] for column in energies)
                    metered_uj += figures[METERED_UJ]
                    all_uj += sum(figures[ENERGY_UJ])
                    factors |= row.factors
            for (_, slice_start, slice_end), ms in hour.reported_ms.items():
                # Of a slice that is still open all that was reported lies before `through`.
                overlap = min(slice_end, query.end) - max(slice_start, query.start)
                if overlap > 0:
                    reported_ms += min(ms, (slice_end - slice_start) * 1000) * overlap // (slice_end - slice_start)
        # A window counts where it starts, and none starts between a period's odd start and the next full
        # minute for certain: that stretch is nobody's gap.
        start = -(-query.start // _LONGEST_WINDOW_SECONDS) * _LONGEST_WINDOW_SECONDS
        expected_ms = sum(max(0, end - max(start, since)) * 1000 for since in first.values())
        return BudgetAnswer(
            id=query.id,
            used_ug=used_ug,
            used_g=grams(used_ug),
            energy_uj=energy_uj,
            energy_kwh=kilowatt_hours(energy_uj),
            coverage_percent=min(100, reported_ms * 100 // expected_ms) if expected_ms else 100,
            measured_percent=metered_uj * 100 // all_uj if all_uj else 0,
            factors=sorted(factors),
        )

    def _hour(self, connection: sa.Connection, hour: int, revision: int) -> _Hour:
        with self._lock:
            cached = self._cache.get(hour)
        if cached is not None and cached[0] == revision:
            return cached[1]
        slices = read_hour(connection, self._cluster, hour)
        rows: dict[str, list[ValuedRow]] = {}
        for row in self._valuer.value(slices):
            rows.setdefault(row.namespace, []).append(row)
        value = _Hour(rows, sum(map(len, rows.values())), _reported(slices))
        with self._lock:
            former = self._cache.pop(hour, None)
            self._cached_rows += value.count - (former[1].count if former else 0)
            self._cache[hour] = (revision, value)
            while self._cached_rows > _CACHED_ROWS and len(self._cache) > 1:
                _, oldest = self._cache.pop(next(iter(self._cache)))
                self._cached_rows -= oldest.count
        return value


def _reported(slices: Iterable[NodeSlice]) -> dict[tuple[int, int, int], int]:
    return {(s.node.id, s.start, s.end): s.duration_ms for s in slices}
