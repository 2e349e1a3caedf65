"""Answers a pod that reports its progress: what its run, or the pod alone where it has no run, will have needed.

A run is what the pods of one namespace with the same label used so far, and the rest that each of them is expected to
need (`workload_prediction.py`). The answer about a run is the same for all of its pods. It is remembered here, so that
what it costs does not grow with the posts of a run's pods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.answers.energy_so_far import EnergySoFar
from carbonbudget_operator.answers.pod_prediction import PodPredictions, prediction_body
from carbonbudget_operator.answers.workload_prediction import RunRest, WorkloadPredictions
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.span_store import ProgressPoint
from carbonbudget_operator.ledger.tracked_pods import find_tracked
from carbonbudget_operator.spans.span_bodies import PredictionBody
from carbonbudget_operator.spans.step_prediction import LAST_STEPS
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_LEAST_SECONDS: Final = 10  # as often as a client posts
_MOST_SECONDS: Final = 60
_PART: Final = 10  # of the time that the run has left
_MOST_RUNS: Final = 10_000  # some 700 bytes each


@dataclass(frozen=True, slots=True)
class _Known:
    """A run's answer, made at the UTC second `at`."""

    at: int
    until: int
    answer: PredictionBody | None

    def holds(self, now: int, point: ProgressPoint) -> bool:
        """Whether it answers a pod's progress. The first steps and the last one change it most."""
        changes = point.done <= LAST_STEPS or point.done >= point.total
        return self.at <= now < (min(self.until, self.at + _LEAST_SECONDS) if changes else self.until)


class ProgressPredictions:
    """Threads share it: two may make the same answer, and either is kept."""

    def __init__(
        self, reader: ValuedReader, pods: PodPredictions, workloads: WorkloadPredictions, so_far: EnergySoFar
    ) -> None:
        self._reader, self._pods, self._workloads, self._so_far = reader, pods, workloads, so_far
        self._known: dict[tuple[str, str], _Known] = {}

    def predict(self, namespace: str, uid: str, point: ProgressPoint, now: int) -> PredictionBody | None:
        """The answer to the pod's stored progress; None while too little is known. `namespace` is the pod's."""
        with snapshot(self._reader.engine) as connection:
            pod = find_tracked(connection, self._reader.cluster, uid)
        if pod is None or pod.namespace != namespace:
            return None
        if not pod.run or pod.is_capped:  # a capped pod has no windows, by which the pods of a run are found
            return self._pods.predict(uid, point.unit, now)
        return self._of_run(namespace, pod.run, point, now)

    def _of_run(self, namespace: str, run: str, point: ProgressPoint, now: int) -> PredictionBody | None:
        known = self._known.get((namespace, run))
        if known is not None and known.holds(now, point):
            return known.answer
        rest = self._workloads.rest_of_run(namespace, run, now)
        answer = None if rest is None else self._answer(namespace, run, rest, now)
        seconds = _LEAST_SECONDS
        if answer is not None:
            seconds = max(seconds, min(_MOST_SECONDS, (answer.ends_at_ms // 1000 - now) // _PART))
        self._known.pop((namespace, run), None)
        while len(self._known) >= _MOST_RUNS:
            self._known.pop(next(iter(self._known), ("", "")), None)
        self._known[namespace, run] = _Known(now, now + seconds, answer)
        return answer

    def _answer(self, namespace: str, run: str, rest: RunRest, now: int) -> PredictionBody:
        with snapshot(self._reader.engine) as connection:
            used = self._so_far.of_run(connection, namespace, run, now)
        return prediction_body(used, rest.rest, rest.ends_at_ms, run)
