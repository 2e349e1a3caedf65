"""The table of expected emissions of new work: rates of reserved capacity, and the means of former runs.

The table is made at most once a minute. The rates are of the last 24 hours with facts. Each hour is valued once and
cached as a few sums; six hours are valued for one table, so the first tables cover the newest hours only. All callers
of a server get the same table. The emissions of former runs are summed up once an hour, from stored units.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.api.projection_bodies import FormerRuns, ProjectionAnswer
from carbonbudget_operator.ledger.controller_pods import FiniteWorkload, finite_workloads, last_pod, pod_milliseconds
from carbonbudget_operator.ledger.fact_reader import data_through, hours_with_facts, node_spans
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import EMBODIED_UG, LOCATION_UG, MARKET_UG
from carbonbudget_operator.valuation.capacity_rates import ReservedCapacity, capacity_of_hour, rates_of
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_AGE_SECONDS: Final = 60
_RATE_HOURS: Final = 24
_HOURS_AT_ONCE: Final = 6  # an hour of a large cluster takes a second or two
_FORMER_SECONDS: Final = 14 * 86_400
_MAX_FORMER: Final = 50_000
_DAY: Final = 86_400
_Name = tuple[str, str]  # namespace and workload


class ProjectionTable:
    """Caches the latest table. Threads share it: one makes it, the others wait."""

    def __init__(self, reader: ValuedReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._table: ProjectionAnswer | None = None
        self._hours: dict[int, tuple[int, dict[str, ReservedCapacity]]] = {}
        self._days: dict[int, tuple[int, Mapping[_Name, int]]] = {}
        self._runs: tuple[int, list[FormerRuns]] = (-1, [])

    def table(self, now: int) -> ProjectionAnswer:
        """The table, not older than a minute at the UTC second `now`."""
        with self._lock:
            if self._table is None or not 0 <= now - self._table.as_of < _AGE_SECONDS:
                self._table = self._make(now)
            return self._table

    def _make(self, now: int) -> ProjectionAnswer:
        with snapshot(self._reader.engine) as connection:
            through = data_through(node_spans(connection, self._reader.cluster))
            end = through - through % HOUR
            found: dict[str, ReservedCapacity] = defaultdict(ReservedCapacity)
            for hour in self._value(connection, end):
                for name, capacity in self._hours[hour][1].items():
                    found[name].add(capacity)
            if end != self._runs[0]:
                self._runs = (end, self._former(connection, end))
        return ProjectionAnswer(
            as_of=now, rates=rates_of(found, self._reader.terms.at(now).places, now), runs=self._runs[1]
        )

    def _value(self, connection: sa.Connection, end: int) -> list[int]:
        """The hours that the rates are of: the last whole ones, or the one that is open while there is no other."""
        revisions = hours_with_facts(connection, end - _RATE_HOURS * HOUR, end)
        revisions = revisions or hours_with_facts(connection, end, end + HOUR)
        self._hours = {hour: known for hour, known in self._hours.items() if hour in revisions}
        stale = [hour for hour, revision in revisions.items() if self._hours.get(hour, (None,))[0] != revision]
        reader = self._reader
        for hour in sorted(stale, reverse=True)[:_HOURS_AT_ONCE]:
            slices, rows = reader.value(connection, hour, by_node=True)
            terms = reader.terms.at(hour)
            self._hours[hour] = (revisions[hour], capacity_of_hour(slices, rows, terms.places, terms.policy))
        return sorted(self._hours)

    def _former(self, connection: sa.Connection, end: int) -> list[FormerRuns]:
        """Means of the pods that were first seen in the last 14 days; a running pod counts with its use until now."""
        start = end - _FORMER_SECONDS
        sealed = sealed_hours(connection, self._reader.cluster, start, end)
        start = max([start, *(hour + HOUR for hour in sealed)])  # pods of sealed hours are gone
        after_pod = last_pod(connection, start - HOUR, start)
        finite = finite_workloads(connection, self._reader.cluster, after_pod, _MAX_FORMER)
        if not finite:
            return []
        used = self._used({(item.namespace, item.workload) for item in finite}, start, end)
        ran_ms = self._ran(connection, after_pod, start, end)
        return [run for item in finite if (run := _mean(item, used, ran_ms)) is not None]

    def _used(self, names: set[_Name], start: int, end: int) -> Mapping[_Name, list[int]]:
        sums: dict[_Name, list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in self._reader.rows(start, end):
            name = (row.namespace, row.workload)
            if name in names:
                total = sums[name]
                total[0] += sum(row.figures[LOCATION_UG])
                total[1] += sum(row.figures[MARKET_UG])
                total[2] += row.figures[EMBODIED_UG]
        return sums

    def _ran(self, connection: sa.Connection, after_pod: int, start: int, end: int) -> Mapping[_Name, int]:
        """Milliseconds of those workloads' pods. Whole days are added up once: they are most of what there is."""
        revisions = hours_with_facts(connection, start, end)
        total: dict[_Name, int] = defaultdict(int)
        days: dict[int, tuple[int, Mapping[_Name, int]]] = {}
        for day in range(start - start % _DAY, end, _DAY):
            first, last = max(start, day), min(end, day + _DAY)
            state = sum(revision for hour, revision in revisions.items() if first <= hour < last)
            whole = last - first == _DAY
            known = self._days.get(day)
            if whole and known is not None and known[0] == state:
                part = known[1]
            else:
                part = pod_milliseconds(connection, self._reader.cluster, after_pod, first, last) if state else {}
            if whole:
                days[day] = (state, part)
            for name, ms in part.items():
                total[name] += ms
        self._days = days
        return total


def _mean(item: FiniteWorkload, used: Mapping[_Name, list[int]], ran_ms: Mapping[_Name, int]) -> FormerRuns | None:
    name = (item.namespace, item.workload)
    if name not in ran_ms:  # its pods' first hour is not over
        return None
    location_ug, market_ug, embodied_ug = used.get(name, (0, 0, 0))
    return FormerRuns(
        namespace=item.namespace,
        workload=item.workload,
        pods=item.pods,
        pod_location_ug=location_ug // item.pods,
        pod_market_ug=market_ug // item.pods,
        pod_embodied_ug=embodied_ug // item.pods,
        pod_seconds=ran_ms[name] // item.pods // 1000,
    )
