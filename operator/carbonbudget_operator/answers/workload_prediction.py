"""What workloads are expected to emit until they end, by what their own pods say of their progress.

It is added to the answers about budgets, which are asked for each minute. Without a pod that tells its progress it
costs one query; else a prediction is made once in five minutes and pod, and all of one request take about a second.
The next request begins with the budget at which that time was over; of one budget the workloads that used most come
first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final

from carbonbudget_operator.answers.pod_prediction import PodPredictions
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery, WorkloadUse
from carbonbudget_operator.ledger.controller_pods import pods_by_uids
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.pods_with_progress import read_telling
from carbonbudget_operator.ledger.span_store import ProgressPoint
from carbonbudget_operator.spans.step_prediction import PredictedHour, Prediction
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_log = logging.getLogger(__name__)
FROM_PERCENT: Final = 10  # of the run
_REUSED_SECONDS: Final = 300
_REUSED_NONE_SECONDS: Final = 30  # too little was known; the windows of its steps come soon
_REQUEST_SECONDS: Final = 1.0
_KEPT_HOURS: Final = 50_000  # predicted hours, some 150 bytes each

_Workload = tuple[str, str]  # namespace, KIND/NAME
_Pods = Sequence[tuple[str, ProgressPoint]]  # uid and newest progress


@dataclass(frozen=True, slots=True)
class _Made:
    """A pod's prediction (None: too little is known), made at `at` of the progress at `begins_at_ms`."""

    at: int
    begins_at_ms: int
    prediction: Prediction | None

    def holds(self, now: int) -> bool:
        """Whether it needs not be made again yet."""
        return 0 <= now - self.at < (_REUSED_SECONDS if self.prediction is not None else _REUSED_NONE_SECONDS)


@dataclass(frozen=True, slots=True)
class RunRest:
    """What a run is expected to need until its end, and how far its pods say that it is."""

    progress_percent: int
    rest: PredictedHour
    ends_at_ms: int


class WorkloadPredictions:
    """Adds expected emissions to answers. Threads share it; `clock` is monotonic, in seconds."""

    def __init__(
        self, reader: ValuedReader, predictions: PodPredictions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader, self._predictions, self._clock = reader, predictions, clock
        self._made: dict[tuple[str, str], _Made] = {}
        self._kept_hours = self._turn = 0
        self._has_failed = False
        self._lock = threading.Lock()

    def add(self, queries: Sequence[BudgetQuery], answers: Iterable[BudgetAnswer], now: int, through: int) -> None:
        """Fill in what is expected for the workloads of answers whose span goes on. `through`: of the answers."""
        current = [(query, its) for query, its in zip(queries, answers, strict=True) if query.end > now]
        named = {(use.namespace, use.workload) for _, answer in current for use in answer.workloads}
        if not named:
            return
        pods = self._telling(named, now)
        deadline, first, late = self._clock() + _REQUEST_SECONDS, self._turn % len(current), False
        for number in [*range(first, len(current)), *range(first)] if pods else ():
            query, answer = current[number]
            if not late and self._clock() >= deadline:
                self._turn, late = number, True
            for use in answer.workloads:
                its = pods.get((use.namespace, use.workload))
                if its is not None:
                    self._add(use, its, (through * 1000, query.end * 1000), now, deadline)

    def _telling(self, named: set[_Workload], now: int) -> Mapping[_Workload, _Pods]:
        """The pods that tell their progress and have steps left, by workload, as far as one is named."""
        found: dict[_Workload, list[tuple[str, ProgressPoint]]] = defaultdict(list)
        with snapshot(self._reader.engine) as connection:
            namespaces = {namespace for namespace, _ in named}
            telling = read_telling(connection, self._reader.cluster, namespaces, now)
            groups = {pod.uid: pod.group for pod in pods_by_uids(connection, self._reader.cluster, telling)}
        for uid, group in groups.items():
            if (group.namespace, group.workload) in named and telling[uid].done < telling[uid].total:
                found[group.namespace, group.workload].append((uid, telling[uid]))
        return found

    def _add(self, use: WorkloadUse, pods: _Pods, span_ms: tuple[int, int], now: int, deadline: float) -> None:
        progress_percent = _progress_percent(pods)
        if progress_percent < FROM_PERCENT:
            return
        parts = self._rests(pods, span_ms, now, deadline)
        if parts is None:
            return
        rest = [sum(figures) for figures in zip(*((p.emissions_ug, p.low_ug, p.high_ug) for p in parts), strict=True)]
        if use.location_ug is not None:  # the budget counts something else: as much of it as so far
            rest = [one * use.used_ug // use.location_ug if use.location_ug else 0 for one in rest]
        use.expected_ug, use.expected_low_ug, use.expected_high_ug = (use.used_ug + one for one in rest)
        use.progress_percent = progress_percent

    def rest_of_run(self, namespace: str, run: str, now: int, through: int) -> RunRest | None:
        """What a run is expected to need from `through` to its end; None where none of its pods says so."""
        with snapshot(self._reader.engine) as connection:
            telling = read_telling(connection, self._reader.cluster, {namespace}, now, run)
        pods = [(uid, point) for uid, point in sorted(telling.items()) if point.done < point.total]
        parts = self._rests(pods, (through * 1000, 2**62), now, self._clock() + _REQUEST_SECONDS) if pods else None
        if not parts:
            return None
        figures = (astuple(part)[1:] for part in parts)
        ends_at_ms = max(
            made.prediction.ends_at_ms for made in self._predicted(pods, now, 0) if made and made.prediction
        )
        summed = PredictedHour(through * 1000, *map(sum, zip(*figures, strict=True)))
        return RunRest(_progress_percent(pods), summed, ends_at_ms)

    def _rests(self, pods: _Pods, span_ms: tuple[int, int], now: int, deadline: float) -> list[PredictedHour] | None:
        """What the pods are expected to need in [start, end); None if one of them has no prediction."""
        found = []
        for made in self._predicted(pods, now, deadline):
            if made is None or made.prediction is None:
                return None
            found.append(made.prediction.within(made.begins_at_ms, *span_ms))
        return found

    def _predicted(self, pods: _Pods, now: int, deadline: float) -> Iterator[_Made | None]:
        """Each pod's prediction; None once there is no time left to make it."""
        for uid, point in pods:
            key = (uid, point.unit)
            made = self._made.get(key)
            if made is None or not made.holds(now):
                if self._clock() >= deadline:
                    yield None
                    continue
                begins_at_ms = min(point.at_ms, now * 1000)
                made = _Made(now, begins_at_ms, self._rest(uid, point.unit, now, begins_at_ms))
                self._keep(key, made)
            yield made

    def _rest(self, uid: str, unit: str, now: int, begins_at_ms: int) -> Prediction | None:
        try:
            return self._predictions.rest(uid, unit, now, begins_at_ms)
        except Exception:  # a pod's own statements must not keep the budgets from their answers
            if not self._has_failed:
                _log.exception("a pod's rest cannot be predicted; further ones are not logged")
            self._has_failed = True
            return None

    def _keep(self, key: tuple[str, str], made: _Made) -> None:
        with self._lock:
            before = self._made.pop(key, None)
            self._made[key] = made
            self._kept_hours += _size(made) - (_size(before) if before is not None else 0)
            while self._kept_hours > _KEPT_HOURS:  # the oldest first
                self._kept_hours -= _size(self._made.pop(next(iter(self._made))))


def _progress_percent(pods: _Pods) -> int:
    return min(point.done * 100 // point.total for _, point in pods)


def _size(made: _Made) -> int:
    return 1 + (len(made.prediction.hours) if made.prediction is not None else 0)
