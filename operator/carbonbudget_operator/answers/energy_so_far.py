"""What a pod, or all pods of a run, used so far: from the hours of the ledger.

Hours that are over are added up once and remembered for some hours, since the newest figures are asked for every few
minutes. A late report or a revised factor is in the sum when that time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.pod_figures import PodFiguresReader, slice_starts
from carbonbudget_operator.answers.pod_spans import PodSpansReader
from carbonbudget_operator.ledger.labelled_pods import labelled_pod_ids
from carbonbudget_operator.ledger.pod_hours import read_pod_slices
from carbonbudget_operator.ledger.seal import sealed_until
from carbonbudget_operator.ledger.span_store import StoredSpan
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.tracked_pods import TrackedPod
from carbonbudget_operator.ledger.valued_rows import LOCATION_UG
from carbonbudget_operator.run_labels import RUN
from carbonbudget_operator.spans.span_bodies import MAX_SPAN_MS
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_HOUR_MS: Final = HOUR * 1000
_REMEMBERED_SECONDS: Final = 6 * HOUR
_MOST_KEPT: Final = 20_000  # some 300 bytes each
_EARLIER: Final = "earlier"  # the time before the first step


@dataclass(frozen=True, slots=True)
class UsedSoFar:
    """Own energy in microjoules, location-based emissions in micrograms with the range of the power model."""

    energy_uj: int = 0
    emissions_ug: int = 0
    low_ug: int = 0
    high_ug: int = 0

    def plus(self, more: UsedSoFar) -> UsedSoFar:
        """The sum."""
        return UsedSoFar(
            self.energy_uj + more.energy_uj,
            self.emissions_ug + more.emissions_ug,
            self.low_ug + more.low_ug,
            self.high_ug + more.high_ug,
        )


class EnergySoFar:
    """Reads it for pods and for runs, of the last 31 days. Threads share it."""

    def __init__(self, reader: ValuedReader) -> None:
        self._reader, self._figures, self._spans = reader, PodFiguresReader(reader), PodSpansReader(reader)
        self._kept: dict[Hashable, tuple[int, int, UsedSoFar]] = {}

    def of_pod(self, connection: sa.Connection, pod: TrackedPod, first_ms: int | None, now: int) -> UsedSoFar:
        """What the pod used since `first_ms`, UTC milliseconds; None: since it began. `now` is the UTC second."""
        oldest_ms = now * 1000 - MAX_SPAN_MS
        since_ms = oldest_ms - oldest_ms % _HOUR_MS if first_ms is None else max(first_ms, oldest_ms)
        first = since_ms // _HOUR_MS * HOUR

        def read(start: int, end: int) -> UsedSoFar:
            its = self._figures.read(connection, pod.uid, start, end, now)
            energy_uj = sum(sum(hour.energy_uj.values()) + sum(hour.idle_uj.values()) for hour in its.hours)
            whole = UsedSoFar(
                energy_uj,
                sum(sum(hour.location_ug) for hour in its.valued),
                sum(hour.low_ug for hour in its.valued),
                sum(hour.high_ug for hour in its.valued),
            )
            return whole if start > first else whole.plus(self._before(connection, pod, since_ms, now))

        # Without a first step the oldest hour moves on with the clock, over hours in which a younger pod has nothing.
        return self._sum((pod.uid, first_ms), first, now, read)

    def of_run(self, connection: sa.Connection, namespace: str, run: str, now: int) -> UsedSoFar:
        """What all pods of a namespace with this label used; without a range of the power model."""
        first = (now - MAX_SPAN_MS // 1000) // HOUR * HOUR
        cluster = self._reader.cluster

        def read(start: int, end: int) -> UsedSoFar:
            start = max(start, sealed_until(connection, cluster, start, end))  # no pods are stored of earlier hours
            if start >= end:
                return UsedSoFar()
            ids = labelled_pod_ids(connection, cluster, start, namespace, (RUN, run))
            if not ids:
                return UsedSoFar()
            slices = read_pod_slices(connection, ids, slice_starts(connection, namespace, start, end))
            energy_uj = sum(its.energy_uj.total() + its.idle_uj.total() for its in slices.values())
            plans = self._reader.plans(connection, start, end)
            rows = self._reader.rows_in(connection, plans, start, end, namespaces={namespace})
            its = (row for row in rows if not row.special and row.labels.get(RUN) == run)
            emitted_ug = sum(sum(row.figures[LOCATION_UG]) for row in its)
            return UsedSoFar(energy_uj, emitted_ug, emitted_ug, emitted_ug)

        return self._sum((namespace, run, ""), first, now, read)

    def _sum(self, key: Hashable, first: int, now: int, read: Callable[[int, int], UsedSoFar]) -> UsedSoFar:
        """The sum of the hours from `first` to now; hours that were over an hour ago are remembered."""
        over = now // HOUR * HOUR - HOUR
        made_at, until, used = self._kept.pop(key, (now, first, UsedSoFar()))
        if not 0 <= now - made_at < _REMEMBERED_SECONDS or not first <= until <= over:
            made_at, until, used = now, first, UsedSoFar()
        if until < over:
            used, until = used.plus(read(until, over)), over
        if until > first:
            while len(self._kept) >= _MOST_KEPT:
                self._kept.pop(next(iter(self._kept), None), None)
            self._kept[key] = made_at, until, used
        return used.plus(read(until, now // HOUR * HOUR + HOUR))

    def _before(self, connection: sa.Connection, pod: TrackedPod, since_ms: int, now: int) -> UsedSoFar:
        """What the pod used in the hour of `since_ms` before it, as a negative sum."""
        start_ms = since_ms - since_ms % _HOUR_MS
        if start_ms == since_ms:
            return UsedSoFar()
        span = [StoredSpan(Span(_EARLIER, _EARLIER, None, start_ms, since_ms), 0, None, 0, None)]
        divided = self._spans.divide(connection, pod, span, span, (0, 0), now)
        energy_uj = divided.division.spans[_EARLIER].inclusive_energy_uj
        its = divided.emissions.inclusive.get(_EARLIER)
        return UsedSoFar(-energy_uj, *((-its.emissions_ug, -its.low_ug, -its.high_ug) if its else ()))
