"""One pod's hours: its facts by domain, and what it was charged with in each hour, for the results of its spans.

The same rows and the same division as for runs (`runs_by_owner.py`), so that a pod's spans and the rest add up to
what its run and its budget have. The range of emissions is that of the power model; a domain with a meter has none.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.runs_by_owner import RunQueriesAnswerer, open_slices
from carbonbudget_operator.ledger.controller_pods import GroupKey, RunPod, pods_by_uid
from carbonbudget_operator.ledger.cuts import load_cuts
from carbonbudget_operator.ledger.fact_reader import data_through, node_spans
from carbonbudget_operator.ledger.pod_hours import PodSlice, model_ranges, read_pod_slices
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedUnit,
)
from carbonbudget_operator.spans.pod_windows import PodWindow
from carbonbudget_operator.spans.span_emissions import PodHour
from carbonbudget_operator.valued_hours.reading_plans import PlannedUnit, ReadingPlans
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

# Late windows of an ordinary hour have come by then, as upkeep takes it.
GRACE_SECONDS: Final = 900
_OPEN_HOUR_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class PodFigures:
    """`hours`: the pod's facts, as windows of the slices that the ledger keeps, cut to [first_ms, last_ms).

    `valued` are its emissions by hour. `through` is the UTC second up to which its nodes have reported.
    """

    hours: Sequence[PodWindow] = ()
    valued: Sequence[PodHour] = ()
    first_ms: int = 0
    last_ms: int = 0
    through: int = 0
    namespace: str = ""


@dataclass(slots=True)
class _Sum:
    figures: list[int] = field(default_factory=lambda: [0] * COLUMNS)

    def add(self, figures: Sequence[int]) -> None:
        self.figures = [a + b for a, b in zip(self.figures, figures, strict=True)]


class PodFiguresReader:
    """Reads the figures of single pods. What the hour that is still open was valued as is used again for a minute:
    many pods ask, each report changes the hour, and valuing it reads all pods.
    """

    def __init__(self, reader: ValuedReader) -> None:
        self._reader, self._runs = reader, RunQueriesAnswerer(reader)
        self._open: dict[int, tuple[float, ValuedUnit]] = {}

    def read(self, connection: sa.Connection, uid: str, start: int, end: int, now: int) -> PodFigures:
        """The figures of [start, end), whole hours in UTC seconds, of hours that are not sealed; `now` likewise."""
        cluster = self._reader.cluster
        pods = pods_by_uid(connection, cluster, uid)
        if not pods or start >= end:
            return PodFigures()
        namespace, ids = pods[-1].group.namespace, [pod.id for pod in pods]
        plans = self._reader.plans(connection, start, end)
        slices = open_slices(connection, cluster, plans.revisions, {namespace})[namespace]
        found = read_pod_slices(connection, ids, [at for at, _ in slices])
        spans = node_spans(connection, cluster)
        nodes = {pod.node_id for pod in pods}
        through = max((span.last_end for span in spans if span.node_id in nodes), default=0)
        ends = {at: min(until, max(through, at + 1)) for at, until in slices}
        hours = [PodWindow(at * 1000, ends[at] * 1000, dict(its.energy_uj), dict(its.idle_uj), its.cpu_us, True)
                 for at, its in sorted(found.items())]  # fmt: skip
        valued = self._valued(connection, plans, pods, found, min(now - GRACE_SECONDS, data_through(spans)))
        first = min(found, default=start)
        last = max((ends[at] for at in found), default=start)
        return PodFigures(hours, valued, first * 1000, last * 1000, through, namespace)

    def _valued(
        self, connection: sa.Connection, plans: ReadingPlans, pods: Sequence[RunPod],
        found: Mapping[int, PodSlice], settled: int,
    ) -> list[PodHour]:  # fmt: skip
        by_id = {pod.id: pod for pod in pods}
        sums: dict[int, _Sum] = {}
        wanted: dict[tuple[int, int], list[_Sum]] = {}
        groups: dict[GroupKey, set[int]] = defaultdict(set)
        for at, its in found.items():
            of_hour = sums.setdefault(at - at % HOUR, _Sum())
            for pod_id in its.pod_ids:
                wanted[(at, pod_id)] = [of_hour]
                groups[by_id[pod_id].group].add(at)
        self._runs.share(connection, plans, groups, wanted, self._unit)
        nodes = sorted({pod.node_id for pod in pods})
        hours = []
        for hour, total in sorted(sums.items()):
            its_energy = _by_domain(found[at] for at in found if at - at % HOUR == hour)
            ranges = model_ranges(connection, nodes, hour)
            hours.append(_pod_hour(hour, total.figures, its_energy, ranges, hour + HOUR <= settled))
        return hours

    def _unit(self, connection: sa.Connection, planned: PlannedUnit) -> ValuedUnit:
        if planned.is_stored:
            return self._reader.unit(connection, *planned)
        hour, now = planned.key[1], time.monotonic()
        made_at, unit = self._open.get(hour, (0.0, None))
        if unit is None or now - made_at > _OPEN_HOUR_SECONDS:
            unit = self._reader.unit(connection, *planned)
            self._open = {at: entry for at, entry in self._open.items() if now - entry[0] <= _OPEN_HOUR_SECONDS}
            self._open[hour] = (now, unit)
        return unit


def slice_starts(connection: sa.Connection, namespace: str, start: int, end: int) -> list[int]:
    """The starts of the slices in which facts of the namespace's pods in [start, end) can be."""
    first = start - start % HOUR
    cuts = [at for at in load_cuts(connection, first, end).of(namespace) if first <= at < end]
    return sorted({*range(first, end, HOUR), *cuts})


def _by_domain(slices: Iterable[PodSlice]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for its in slices:
        for energies in (its.energy_uj, its.idle_uj):
            for domain, energy_uj in energies.items():
                found[domain] += energy_uj
    return found


def _pod_hour(
    hour: int, figures: Sequence[int], energy_uj: Mapping[str, int], ranges: Mapping[str, tuple[int, int, int]],
    final: bool,
) -> PodHour:  # fmt: skip
    location = tuple(figures[LOCATION_UG])
    market = tuple(figures[MARKET_UG])
    low_uj, high_uj, total = 0, 0, sum(energy_uj.values())
    for domain, its_uj in energy_uj.items():
        measured, least, most = ranges.get(domain, (0, 0, 0))
        low_uj += its_uj * least // measured if measured else its_uj
        high_uj += -(-its_uj * most // measured) if measured else its_uj
    emitted = sum(location)
    return PodHour(
        start_ms=hour * 1000,
        location_ug=(location[0], location[1], location[2]),
        market_ug=(market[0], market[1], market[2]),
        embodied_ug=figures[EMBODIED_UG],
        low_ug=min(emitted, emitted * low_uj // total) if total else emitted,
        high_ug=max(emitted, -(-emitted * high_uj // total)) if total else emitted,
        energy_uj=sum(figures[ENERGY_UJ]),
        metered_uj=figures[METERED_UJ],
        final=final,
    )
