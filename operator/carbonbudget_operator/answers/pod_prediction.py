"""Predicts what a pod will have needed when all of its steps are done, from the steps that it has done.

The expected intensity of a coming hour is the forecast of the zone's source, else that of the same hours of the week in
the last two weeks, as the ledger's hours are valued. What the pod emitted per kWh of its own energy beyond that (PUE,
its part of idle and overhead) is taken to stay as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.expected_intensity import ExpectedIntensity
from carbonbudget_operator.answers.pod_spans import MOST_SPANS, DividedPod, PodSpansReader
from carbonbudget_operator.carbon.emissions_formula import emissions_ug
from carbonbudget_operator.ledger.controller_pods import pods_by_uid
from carbonbudget_operator.ledger.fact_reader import read_nodes
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.span_store import ProgressPoint, StoredSpan, read_named_spans, read_progress
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.tracked_pods import find_tracked
from carbonbudget_operator.spans.span_bodies import MAX_SPAN_MS, PredictionBody
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.spans.step_prediction import DoneStep, Prediction, predict
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_MOST_STEPS: Final = 50  # the last ones: the prediction uses five
_MOST_NAMED: Final = 1_000  # spans that are read for them: they may come in another order
# Answers about budgets wait for the rest of a run, so it is of few hours, whatever the pod stated.
_REST_MS: Final = 7 * 24 * HOUR * 1000
_WHOLE: Final = "whole pod"  # no span of a client has an id with a space
_MOST_PERMILLE: Final = 100_000


class PodPredictions:
    """Predicts for one pod at a time."""

    def __init__(self, reader: ValuedReader) -> None:
        self._reader, self._spans = reader, PodSpansReader(reader)
        self._expected = ExpectedIntensity(reader)

    def predict(self, uid: str, unit: str, now: int) -> PredictionBody | None:
        """The prediction for the pod's steps of this unit; None while too little is known."""
        made = self._made(uid, unit, now, now * 1000, MAX_SPAN_MS)
        if made is None:
            return None
        found, divided = made
        used, whole = divided.division.spans[_WHOLE].inclusive_energy_uj, divided.emissions.inclusive[_WHOLE]
        found = found.plus(used, whole.emissions_ug, whole.low_ug, whole.high_ug)
        return PredictionBody(
            energy_uj=found.energy_uj, low_uj=found.low_uj, high_uj=found.high_uj, emissions_ug=found.emissions_ug,
            low_ug=found.low_ug, high_ug=found.high_ug, ends_at_ms=found.ends_at_ms,
        )  # fmt: skip

    def rest(self, uid: str, unit: str, now: int, from_ms: int) -> Prediction | None:
        """What the steps that are left are expected to need if they begin at `from_ms`; None as in `predict`.

        Of the steps of the last seven days alone.
        """
        made = self._made(uid, unit, now, from_ms, _REST_MS)
        return made[0] if made is not None else None

    def _made(self, uid: str, unit: str, now: int, from_ms: int, back_ms: int) -> tuple[Prediction, DividedPod] | None:
        """The steps that are left, and the pod from the first counted step to the last one (`_WHOLE`)."""
        with snapshot(self._reader.engine) as connection:
            pod = find_tracked(connection, self._reader.cluster, uid)
            points = read_progress(connection, pod.id, unit) if pod else []
            if pod is None or not points:
                return None
            stored = read_named_spans(connection, pod.id, unit, _MOST_NAMED, MOST_SPANS)
            # The pod states the instants: a step that it dates to 1970 would have all hours since then read.
            steps = _steps(stored, points, unit, now * 1000 - back_ms)
            if not steps:
                return None
            start_ms, end_ms = steps[0].start_ms, max(step.end_ms for step in steps)
            virtual = [*steps, Span(_WHOLE, unit, None, start_ms, end_ms)]
            stored = [StoredSpan(span, 0, None, 0, None) for span in virtual]
            divided = self._spans.divide(connection, pod, stored, stored, (0, 0), now)
            zones = self._zones(connection, uid, now)
        last, energies = points[-1], divided.division.spans
        done = [
            DoneStep(step.start_ms, step.end_ms, energies[step.id].inclusive_energy_uj)
            for step in steps
            if energies[step.id].covered_ms
        ]
        if _WHOLE not in divided.emissions.inclusive or not done:
            return None
        expected = self._expected.of(zones, now)
        permille = _permille(divided, expected.past)
        found = predict(done, last.total - last.done, from_ms, expected.coming, permille)
        return (found, divided) if found is not None else None

    def _zones(self, connection: sa.Connection, uid: str, now: int) -> list[str]:
        """The grid zone of the pod's node: a cluster may have nodes in others."""
        ids = {pod.node_id for pod in pods_by_uid(connection, self._reader.cluster, uid)}
        nodes = read_nodes(connection, self._reader.cluster, ids=ids)
        places = (self._reader.terms.at(now).places.of(node, now) for node in nodes.values())
        return sorted({place.grid_zone or place.zone for place in places})


def _steps(stored: Sequence[StoredSpan], points: Sequence[ProgressPoint], unit: str, oldest_ms: int) -> list[Span]:
    """The steps that are over and began after an instant: the spans of that name, else the time between two instants
    of progress.
    """
    spans = [one.span for one in stored if one.span.name == unit and one.span.start_ms < one.span.end_ms]
    if not spans:
        pairs = pairwise(points)
        spans = [
            Span(str(after.done), unit, None, before.at_ms, after.at_ms)
            for before, after in pairs
            if after.done == before.done + 1 and after.at_ms > before.at_ms
        ]
    recent = (span for span in spans if span.start_ms >= oldest_ms)
    return sorted(recent, key=lambda span: (span.start_ms, span.end_ms, span.id))[-_MOST_STEPS:]


def _permille(divided: DividedPod, mg_per_kwh: Mapping[int, int]) -> int:
    """What the pod emitted in its hours, in thousandths of what its own energy emitted at the grid's intensity."""
    own_uj: dict[int, int] = {}
    for window in divided.figures.hours:
        hour_ms = window.start_ms - window.start_ms % (HOUR * 1000)
        own_uj[hour_ms] = own_uj.get(hour_ms, 0) + sum(window.energy_uj.values()) + sum(window.idle_uj.values())
    emitted = at_grid = 0
    for hour in divided.figures.valued:
        if hour.start_ms in mg_per_kwh:
            emitted += sum(hour.location_ug)
            at_grid += emissions_ug(own_uj.get(hour.start_ms, 0), 1000, mg_per_kwh[hour.start_ms])
    return min(_MOST_PERMILLE, max(1000, emitted * 1000 // at_grid)) if at_grid else 1000
