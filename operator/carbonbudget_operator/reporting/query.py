"""Queries: sums of valued rows for budgets and for allocation reports."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.allocation.policy import Policy
from carbonbudget_operator.api.query import BudgetAnswer, BudgetQuery
from carbonbudget_operator.ledger.facts import NodeSlice
from carbonbudget_operator.ledger.read import data_through, hours_with_facts, node_spans, read_hour
from carbonbudget_operator.reporting.numbers import grams, kilowatt_hours
from carbonbudget_operator.reporting.valued import ValuedRow, Valuer
from carbonbudget_operator.settings import Carbon

_CACHED_HOURS = 24 * 100
_LONGEST_WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class _Hour:
    """One hour's rows, and each node's reported milliseconds by slice."""

    rows: list[ValuedRow]
    reported_ms: dict[tuple[int, int, int], int]  # (node, slice start, slice end)


class Queries:
    """Reads hours, values them, remembers the result until the hour's facts change."""

    def __init__(
        self,
        engine: sa.Engine,
        cluster: str,
        carbon: Carbon,
        policy: Policy | None = None,
    ) -> None:
        self._engine, self._cluster = engine, cluster
        self._valuer = Valuer(carbon, policy or Policy())
        self._cache: dict[int, tuple[int, _Hour]] = {}
        self._lock = threading.Lock()

    def rows(self, start: int, end: int) -> list[ValuedRow]:
        """All valued rows of [start, end); a slice that straddles a boundary counts pro rata in time."""
        with self._engine.connect() as connection:
            return [
                part
                for hour, revision in hours_with_facts(connection, start, end).items()
                for row in self._hour(connection, hour, revision).rows
                if (part := _within(row, start, end)) is not None
            ]

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
        wanted = {component.upper() for component in query.include}
        namespaces = set(query.namespaces)
        used_ug = energy_uj = metered_uj = 0
        factors: set[str] = set()
        reported_ms = 0
        end = min(query.end, max(through, query.start))
        for hour in hours:
            for row in hour.rows:
                if row.namespace not in namespaces or row.component.name not in wanted:
                    continue
                if query.selector is not None and not query.selector.matches(row.labels):
                    continue
                part = _within(row, query.start, query.end)
                if part is not None:
                    used_ug += part.location_ug
                    energy_uj += part.energy_uj
                    metered_uj += part.metered_uj
                    factors.add(row.factor)
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
            measured_percent=metered_uj * 100 // energy_uj if energy_uj else 0,
            factors=sorted(factors),
        )

    def _hour(self, connection: sa.Connection, hour: int, revision: int) -> _Hour:
        with self._lock:
            cached = self._cache.get(hour)
        if cached is not None and cached[0] == revision:
            return cached[1]
        slices = read_hour(connection, self._cluster, hour)
        value = _Hour(self._valuer.value(slices), _reported(slices))
        with self._lock:
            if len(self._cache) >= _CACHED_HOURS:
                self._cache.pop(next(iter(self._cache)))
            self._cache[hour] = (revision, value)
        return value


def _reported(slices: Iterable[NodeSlice]) -> dict[tuple[int, int, int], int]:
    return {(s.node.id, s.start, s.end): max((d.duration_ms for d in s.domains.values()), default=0) for s in slices}


def _within(row: ValuedRow, start: int, end: int) -> ValuedRow | None:
    """The row, or its share of [start, end) in whole units if it straddles a boundary."""
    overlap = min(row.end, end) - max(row.start, start)
    if overlap <= 0:
        return None
    length = row.end - row.start
    if overlap == length:
        return row
    return ValuedRow(
        start=max(row.start, start),
        end=min(row.end, end),
        node=row.node,
        namespace=row.namespace,
        workload=row.workload,
        labels=row.labels,
        component=row.component,
        energy_uj=row.energy_uj * overlap // length,
        metered_uj=row.metered_uj * overlap // length,
        location_ug=row.location_ug * overlap // length,
        factor=row.factor,
    )
