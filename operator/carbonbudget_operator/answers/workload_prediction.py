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

from carbonbudget_operator.answers.pod_prediction import PodPredictions, PodRest
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery, WorkloadUse
from carbonbudget_operator.ledger.controller_pods import GroupKey, pods_by_uids
from carbonbudget_operator.ledger.fact_reader import node_spans
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.pods_with_progress import read_telling
from carbonbudget_operator.ledger.span_store import ProgressPoint
from carbonbudget_operator.spans.step_prediction import LAST_STEPS, PredictedHour
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_log = logging.getLogger(__name__)
FROM_PERCENT: Final = 10  # of the run
_REUSED_SECONDS: Final = 300
_REUSED_NONE_SECONDS: Final = 30  # too little was known; the windows of its steps come soon
_REQUEST_SECONDS: Final = 1.0
_KEPT_HOURS: Final = 50_000  # predicted hours, some 150 bytes each

_Workload = tuple[str, str]  # namespace, KIND/NAME
_Pods = Sequence["_Telling"]


@dataclass(frozen=True, slots=True)
class _Made:
    """A pod's rest (None: too little is known), made at the UTC second `at` of its progress `point`."""

    at: int
    point: ProgressPoint
    rest: PodRest | None

    def holds(self, now: int, seconds: int = _REUSED_SECONDS) -> bool:
        """Whether it needs not be made again yet."""
        return 0 <= now - self.at < (seconds if self.rest is not None else _REUSED_NONE_SECONDS)

    def is_overtaken(self, point: ProgressPoint) -> bool:
        """Whether a new one would differ much: after each of the first steps and the last, and with other totals."""
        is_early = self.point.done < LAST_STEPS or point.done < self.point.done
        return point != self.point and (is_early or point.done >= point.total or point.total != self.point.total)


@dataclass(frozen=True, slots=True)
class _Telling:
    """A pod that reports its progress: the newest, and up to where its energy is known, in UTC milliseconds."""

    uid: str
    point: ProgressPoint
    measured_ms: int

    @property
    def is_done(self) -> bool:
        """Whether it has no steps left."""
        return self.point.done >= self.point.total


@dataclass(frozen=True, slots=True)
class RunRest:
    """What a run is expected to need until its end beyond what is measured, by the progress that its pods report.

    `rest` has the pods' own energy, `charged_permille` what they are charged with in thousandths of it. `is_done`: no
    pod has steps left.
    """

    progress_percent: int
    rest: PredictedHour
    charged_permille: int
    ends_at_ms: int
    is_done: bool


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

    def add(self, queries: Sequence[BudgetQuery], answers: Iterable[BudgetAnswer], now: int) -> None:
        """Fill in what is expected for the workloads of answers whose span goes on."""
        current = [(query, its) for query, its in zip(queries, answers, strict=True) if query.end > now]
        named = {(use.namespace, use.workload) for _, answer in current for use in answer.workloads}
        if not named:
            return
        pods = self._of_workloads(named, now)
        deadline, first, late = self._clock() + _REQUEST_SECONDS, self._turn % len(current), False
        for number in [*range(first, len(current)), *range(first)] if pods else ():
            query, answer = current[number]
            if not late and self._clock() >= deadline:
                self._turn, late = number, True
            for use in answer.workloads:
                its = pods.get((use.namespace, use.workload))
                if its is not None:
                    self._add(use, its, query.end * 1000, now, deadline)

    def _of_workloads(self, named: set[_Workload], now: int) -> Mapping[_Workload, _Pods]:
        """The pods that tell their progress and have steps left, by workload, as far as one is named."""
        found: dict[_Workload, list[_Telling]] = defaultdict(list)
        for group, pod in self._telling({namespace for namespace, _ in named}, now):
            if (group.namespace, group.workload) in named and not pod.is_done:
                found[group.namespace, group.workload].append(pod)
        return found

    def _telling(self, namespaces: set[str], now: int, run: str = "") -> list[tuple[GroupKey, _Telling]]:
        """The pods of these namespaces, and of this run, that have posted progress, sorted by uid."""
        cluster = self._reader.cluster
        with snapshot(self._reader.engine) as connection:
            points = read_telling(connection, cluster, namespaces, now, run)
            if not points:
                return []
            pods = {pod.uid: pod for pod in pods_by_uids(connection, cluster, points)}
            ends = {span.node_id: span.last_end for span in node_spans(connection, cluster)}
        return [
            (pod.group, _Telling(uid, points[uid], min(now, ends.get(pod.node_id, now)) * 1000))
            for uid, pod in sorted(pods.items())
        ]

    def _add(self, use: WorkloadUse, pods: _Pods, end_ms: int, now: int, deadline: float) -> None:
        progress_percent = _progress_percent(pods)
        if progress_percent < FROM_PERCENT:
            return
        parts = self._rests(pods, end_ms, now, deadline)
        if parts is None:
            return
        rest = [sum(figures) for figures in zip(*((p.emissions_ug, p.low_ug, p.high_ug) for p in parts), strict=True)]
        if use.location_ug is not None:  # the budget counts something else: as much of it as so far
            rest = [one * use.used_ug // use.location_ug if use.location_ug else 0 for one in rest]
        use.expected_ug, use.expected_low_ug, use.expected_high_ug = (use.used_ug + one for one in rest)
        use.progress_percent = progress_percent

    def rest_of_run(self, namespace: str, run: str, now: int) -> RunRest | None:
        """What a run is expected to need until its end; None where no pod of it says so, or too little is known."""
        pods = [pod for _, pod in self._telling({namespace}, now, run)]
        made = list(self._predicted(pods, now, self._clock() + _REQUEST_SECONDS, is_current=True))
        if any(its is None and not pod.is_done for pod, its in zip(pods, made, strict=True)):
            return None
        rests = [(its, its.after(pod.measured_ms)) for pod, its in zip(pods, made, strict=True) if its is not None]
        if not rests:
            return None
        summed = PredictedHour(min(pod.measured_ms for pod in pods), *_sums(part for _, part in rests))
        charged = sum(part.energy_uj * its.charged_permille for its, part in rests)
        left = [pod for pod in pods if not pod.is_done]
        return RunRest(
            _progress_percent(left) if left else 100,
            summed,
            charged // summed.energy_uj if summed.energy_uj else 1000,
            max(its.prediction.ends_at_ms for its, _ in rests),
            not left,
        )

    def _rests(self, pods: _Pods, end_ms: int, now: int, deadline: float) -> list[PredictedHour] | None:
        """What the pods are expected to need until `end_ms` beyond what is measured; None if one is not predicted."""
        found = []
        for pod, its in zip(pods, self._predicted(pods, now, deadline), strict=True):
            if its is None:
                return None
            found.append(its.after(pod.measured_ms, end_ms))
        return found

    def _predicted(self, pods: _Pods, now: int, deadline: float, is_current: bool = False) -> Iterator[PodRest | None]:
        """Each pod's rest; with `is_current` a new one where the pod's progress has overtaken the former.

        Once there is no time left to make one, the former one, as long as it is not too old.
        """
        for pod in pods:
            key = (pod.uid, pod.point.unit)
            made = self._made.get(key)
            if made is None or not made.holds(now) or (is_current and made.is_overtaken(pod.point)):
                if self._clock() >= deadline:
                    yield made.rest if made is not None and made.holds(now, 2 * _REUSED_SECONDS) else None
                    continue
                made = _Made(now, pod.point, self._rest(pod.uid, pod.point.unit, now))
                self._keep(key, made)
            yield made.rest

    def _rest(self, uid: str, unit: str, now: int) -> PodRest | None:
        try:
            return self._predictions.rest(uid, unit, now)
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
    return min(pod.point.done * 100 // pod.point.total for pod in pods)


def _sums(parts: Iterable[PredictedHour]) -> Iterator[int]:
    """The figures of the parts, each added up."""
    return map(sum, zip(*(astuple(part)[1:] for part in parts), strict=True))


def _size(made: _Made) -> int:
    return 1 + (len(made.rest.prediction.hours) if made.rest is not None else 0)
