"""Predicts what a pod will have needed when all of its steps are done, from the steps that it has done.

The expected intensity of a coming hour is the forecast of the zone's source, else that of the same hours of the week in
the last two weeks, as the ledger's hours are valued. What the pod emitted per kWh of its own energy beyond that (PUE,
its part of idle and overhead) is taken to stay as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.energy_so_far import EnergySoFar, UsedSoFar
from carbonbudget_operator.answers.expected_intensity import ExpectedIntensity
from carbonbudget_operator.answers.pod_spans import DividedPod, PodSpansReader
from carbonbudget_operator.carbon.emissions_formula import emissions_ug
from carbonbudget_operator.ledger.controller_pods import pods_by_uid
from carbonbudget_operator.ledger.fact_reader import node_spans, read_nodes
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.pod_steps import first_step_ms, read_steps
from carbonbudget_operator.ledger.span_store import ProgressPoint, StoredSpan, read_progress
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.tracked_pods import TrackedPod, find_tracked
from carbonbudget_operator.spans.done_steps import Mark, last_intervals, marks_of_steps, newest_count
from carbonbudget_operator.spans.span_bodies import MAX_SPAN_MS, PredictionBody
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.spans.step_prediction import DoneStep, PredictedHour, Prediction, predict
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

# Of the last steps: the prediction uses five intervals. More are read since there may be no energy of some of them, and
# since short steps are joined.
_MOST_INTERVALS: Final = 10
_MOST_STEPS: Final = 3_000
# Answers about budgets wait for the rest of a run, so it is of few hours, whatever the pod stated.
_REST_MS: Final = 7 * 24 * HOUR * 1000
_MOST_PERMILLE: Final = 100_000
FAR_MS: Final = 2**62


@dataclass(frozen=True, slots=True)
class PodRest:
    """What a pod's steps that are left are expected to need, hour by hour from `begins_at_ms` on.

    Of the time before the newest measurement it is what the pod used already: `after` leaves that out.
    `charged_permille` is the energy that the pod is charged with, in thousandths of its own: its part of idle and
    overhead is in it.
    """

    prediction: Prediction
    begins_at_ms: int
    charged_permille: int

    def after(self, start_ms: int, end_ms: int = FAR_MS) -> PredictedHour:
        """What is expected in [start_ms, end_ms)."""
        return self.prediction.within(self.begins_at_ms, start_ms, end_ms)


@dataclass(frozen=True, slots=True)
class _Read:
    """What the ledger has of a pod's steps. `measured_ms`: up to where its energy is known, UTC milliseconds."""

    newest: ProgressPoint
    measured_ms: int
    done: Sequence[DoneStep]
    divided: DividedPod
    zones: Sequence[str]


class PodPredictions:
    """Predicts for one pod at a time."""

    def __init__(self, reader: ValuedReader, so_far: EnergySoFar | None = None) -> None:
        self._reader, self._spans = reader, PodSpansReader(reader)
        self._expected, self._so_far = ExpectedIntensity(reader), so_far or EnergySoFar(reader)

    def predict(self, uid: str, unit: str, now: int) -> PredictionBody | None:
        """The prediction for all of the pod's steps of this unit; None while too little is known."""
        with snapshot(self._reader.engine) as connection:
            pod = find_tracked(connection, self._reader.cluster, uid)
            read = self._read(connection, pod, unit, now, MAX_SPAN_MS) if pod else None
            if pod is None or read is None:
                return None
            used = self._so_far.of_pod(connection, pod, first_step_ms(connection, pod.id, unit), now)
        rest = self._rest_of(read, now)
        if rest is None:
            return None
        return prediction_body(used, rest.after(read.measured_ms), rest.prediction.ends_at_ms)

    def rest(self, uid: str, unit: str, now: int) -> PodRest | None:
        """What the steps that are left are expected to need, of the last seven days' steps; None as in `predict`."""
        with snapshot(self._reader.engine) as connection:
            pod = find_tracked(connection, self._reader.cluster, uid)
            read = self._read(connection, pod, unit, now, _REST_MS) if pod else None
        return self._rest_of(read, now) if read is not None else None

    def _read(
        self, connection: sa.Connection, pod: TrackedPod, unit: str, now: int, back_ms: int
    ) -> _Read | None:  # fmt: skip
        points = read_progress(connection, pod.id, unit)
        nodes = {its.node_id for its in pods_by_uid(connection, self._reader.cluster, pod.uid)}
        ends = [its.last_end for its in node_spans(connection, self._reader.cluster) if its.node_id in nodes]
        if not points or not ends:
            return None
        measured_ms = min(max(ends), now) * 1000
        # The pod states the instants: a step that it dates to 1970 would have all hours since then read.
        span_ms = now * 1000 - back_ms, measured_ms
        marks, steps = self._marks(connection, pod, unit, points, span_ms)
        intervals = last_intervals(marks, _MOST_INTERVALS)
        if not intervals:
            return None
        # An id with a space is none of a client's.
        virtual = [Span(f"steps {n}", unit, None, its.start_ms, its.end_ms) for n, its in enumerate(intervals)]
        asked = [StoredSpan(span, 0, None, 0, None) for span in virtual]
        # The client's counters at the edges divide the windows there.
        edges = {edge for its in intervals for edge in (its.start_ms, its.end_ms)}
        beside = [one for one in steps if one.span.end_ms in edges]
        divided = self._spans.divide(connection, pod, [*asked, *beside], asked, (0, 0), now)
        energies = divided.division.spans
        done = [
            DoneStep(its.start_ms, its.end_ms, energies[span.id].inclusive_energy_uj, its.steps)
            for its, span in zip(intervals, virtual, strict=True)
            if energies[span.id].covered_ms
        ]
        return _Read(points[-1], measured_ms, done, divided, self._zones(connection, nodes, now))

    def _marks(
        self, connection: sa.Connection, pod: TrackedPod, unit: str, points: Sequence[ProgressPoint],
        span_ms: tuple[int, int],
    ) -> tuple[list[Mark], list[StoredSpan]]:  # fmt: skip
        """The instants at which steps were done inside a span of time, and the spans that say so.

        They are the ends of the spans called like the unit, else the posts of progress.
        """
        first_ms = first_step_ms(connection, pod.id, unit)
        if first_ms is None:
            oldest_ms, measured_ms = span_ms
            told = newest_count((point.at_ms, point.done, point.total) for point in points)
            return [mark for mark in told if oldest_ms <= mark.at_ms <= measured_ms], []
        since_ms = max(first_ms, span_ms[0])
        steps = read_steps(connection, pod.id, unit, since_ms, span_ms[1], _MOST_STEPS)
        return marks_of_steps((one.span.start_ms, one.span.end_ms) for one in steps), steps

    def _rest_of(self, read: _Read, now: int) -> PodRest | None:
        if not read.done or not read.divided.figures.valued:
            return None
        expected = self._expected.of(read.zones, now)
        at_ms = min(read.newest.at_ms, now * 1000)
        permille, charged_permille = _permilles(read.divided, expected.past)
        found = predict(
            read.done, max(0, read.newest.total - read.newest.done), at_ms, expected.coming, permille,
            measured_ms=read.measured_ms,
        )  # fmt: skip
        return None if found is None else PodRest(found, min(at_ms, read.measured_ms), charged_permille)

    def _zones(self, connection: sa.Connection, node_ids: set[int], now: int) -> list[str]:
        """The grid zone of the pod's node: a cluster may have nodes in others."""
        nodes = read_nodes(connection, self._reader.cluster, ids=node_ids)
        places = (self._reader.terms.at(now).places.of(node, now) for node in nodes.values())
        return sorted({place.grid_zone or place.zone for place in places})


def prediction_body(used: UsedSoFar, rest: PredictedHour, ends_at_ms: int, run: str | None = None) -> PredictionBody:
    """What was used and what is left. `run`: whose figures these are, None for a pod's own."""
    return PredictionBody(
        covers="pod" if run is None else "run",
        run=run,
        energy_uj=used.energy_uj + rest.energy_uj,
        low_uj=used.energy_uj + rest.low_uj,
        high_uj=used.energy_uj + rest.high_uj,
        emissions_ug=used.emissions_ug + rest.emissions_ug,
        low_ug=used.low_ug + rest.low_ug,
        high_ug=used.high_ug + rest.high_ug,
        ends_at_ms=ends_at_ms,
    )


def _permilles(divided: DividedPod, mg_per_kwh: Mapping[int, int]) -> tuple[int, int]:
    """What the pod emitted in its hours, in thousandths of what its own energy emitted at the grid's intensity.

    And the energy that it was charged with in thousandths of its own.
    """
    own_uj: dict[int, int] = {}
    for window in divided.figures.hours:
        hour_ms = window.start_ms - window.start_ms % (HOUR * 1000)
        own_uj[hour_ms] = own_uj.get(hour_ms, 0) + sum(window.energy_uj.values()) + sum(window.idle_uj.values())
    emitted = at_grid = 0
    for hour in divided.figures.valued:
        if hour.start_ms in mg_per_kwh:
            emitted += sum(hour.location_ug)
            at_grid += emissions_ug(own_uj.get(hour.start_ms, 0), 1000, mg_per_kwh[hour.start_ms])
    charged_uj = sum(hour.energy_uj for hour in divided.figures.valued)
    return _bounded(emitted, at_grid), _bounded(charged_uj, sum(own_uj.values()))


def _bounded(part: int, whole: int) -> int:
    return min(_MOST_PERMILLE, max(1000, part * 1000 // whole)) if whole else 1000
