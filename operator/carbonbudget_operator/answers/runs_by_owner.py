"""The emissions of runs: what the pods of one controller emitted, for all runs of a request in one pass.

A slice of time that touches the span counts whole: inside an hour it is not known when energy was used, and the pods of
a run have nothing outside of it. The answer states the slices that it covers. Sealed hours have no pods any more, so
they add nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import sqlalchemy as sa

from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.api.budget_query_bodies import RunAnswer, RunQuery
from carbonbudget_operator.ledger.controller_pods import (
    ControllerReference,
    GroupKey,
    PodFacts,
    RunPod,
    label_sets,
    members_of,
    pods_of,
    read_pods,
)
from carbonbudget_operator.ledger.cuts import load_cuts
from carbonbudget_operator.ledger.fact_reader import data_through, node_spans, read_nodes
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.ledger.time_slices import HOUR, slice_end
from carbonbudget_operator.ledger.valued_rows import (
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedUnit,
)
from carbonbudget_operator.valuation.pod_split import PodWeight, split_row
from carbonbudget_operator.valued_hours.reading_plans import PlannedUnit, ReadingPlans
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_Place = tuple[int, str, GroupKey]  # start of the slice, scope, group


class FigureSum(Protocol):
    """What takes the figures of a pod in a slice of time."""

    def add(self, figures: Sequence[int]) -> None:
        """The columns of a valued row."""


@dataclass(slots=True)
class _Run:
    """One run's pods and their sums."""

    query: RunQuery
    pods: set[str] = field(default_factory=set)
    energy_uj: int = 0
    metered_uj: int = 0
    location_ug: int = 0
    market_ug: int = 0
    embodied_ug: int = 0
    gpu_ms: int = 0
    covers: tuple[int, int] = (0, 0)

    def add(self, figures: Sequence[int]) -> None:
        self.energy_uj += sum(figures[ENERGY_UJ])
        self.metered_uj += figures[METERED_UJ]
        self.location_ug += sum(figures[LOCATION_UG])
        self.market_ug += sum(figures[MARKET_UG])
        self.embodied_ug += figures[EMBODIED_UG]

    def answer(self) -> RunAnswer:
        return RunAnswer(
            id=self.query.id,
            pods=len(self.pods),
            energy_uj=self.energy_uj,
            location_ug=self.location_ug,
            market_ug=self.market_ug,
            embodied_ug=self.embodied_ug,
            gpu_ms=self.gpu_ms,
            measured_percent=self.metered_uj * 100 // self.energy_uj if self.energy_uj else 0,
            covers_from=self.covers[0],
            covers_to=self.covers[1],
        )


class RunQueriesAnswerer:
    """Answers from facts that are not sealed and the rows that were made of them."""

    def __init__(self, reader: ValuedReader) -> None:
        self._reader = reader

    def answers(self, queries: Sequence[RunQuery]) -> tuple[int, list[RunAnswer]]:
        """`data_through`, and each run's answer in order."""
        runs = [_Run(query) for query in queries]
        with snapshot(self._reader.engine) as connection:
            through = data_through(node_spans(connection, self._reader.cluster))
            _cover(connection, runs)
            if runs and through:
                self._fill(connection, runs, through)
        return through, [run.answer() for run in runs]

    def _fill(self, connection: sa.Connection, runs: list[_Run], through: int) -> None:
        first = min(run.query.start for run in runs)
        last = min(max(run.query.end for run in runs), through + HOUR)
        plans = self._reader.plans(connection, first, last)
        namespaces = {run.query.namespace for run in runs}
        slices = open_slices(connection, self._reader.cluster, plans.revisions, namespaces)
        of_pod = self._pods(connection, runs)
        starts = {
            index: tuple(
                start for start, end in slices[run.query.namespace] if start < run.query.end and end > run.query.start
            )
            for index, run in enumerate(runs)
        }
        ids: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for pod_id, (_, indexes) in of_pod.items():
            for index in indexes:
                ids[starts[index]].add(pod_id)
        wanted: dict[tuple[int, int], list[_Run]] = {}
        groups: dict[GroupKey, set[int]] = defaultdict(set)
        for facts in _read(connection, ids):
            pod, indexes = of_pod[facts.pod_id]
            its = [runs[index] for index in indexes if facts.start in starts[index]]
            if its:
                wanted[(facts.start, facts.pod_id)] = its
                groups[pod.group].add(facts.start)
            for run in its:
                run.pods.add(pod.uid)
                run.gpu_ms += facts.gpu_reserved_ms
        self.share(connection, plans, groups, wanted)

    def _pods(self, connection: sa.Connection, runs: list[_Run]) -> dict[int, tuple[RunPod, list[int]]]:
        """Pods by id, with the indexes of the runs that they are of."""
        by_controller: dict[ControllerReference, list[int]] = defaultdict(list)
        for index, run in enumerate(runs):
            query = run.query
            by_controller[ControllerReference(query.namespace, query.kind, query.name, query.uid)].append(index)
        found: dict[int, tuple[RunPod, list[int]]] = {}
        for pod in pods_of(connection, self._reader.cluster, by_controller):
            its = pod.controller
            anybody = ControllerReference(its.namespace, its.kind, its.name)
            indexes = dict.fromkeys([*by_controller.get(its, ()), *by_controller.get(anybody, ())])
            found[pod.id] = (pod, list(indexes))
        return found

    def share(
        self,
        connection: sa.Connection,
        plans: ReadingPlans,
        groups: Mapping[GroupKey, set[int]],
        wanted: Mapping[tuple[int, int], Sequence[FigureSum]],
        unit: Callable[[sa.Connection, PlannedUnit], ValuedUnit] | None = None,
    ) -> None:
        """Divide each group's row of each slice among all of its pods, and add the parts to the runs.

        `groups` are the starts of the slices of each; `wanted` is by start and pod. `unit` returns an hour's rows.
        """
        read = unit or (lambda connection, planned: self._reader.unit(connection, *planned))
        nodes = read_nodes(connection, self._reader.cluster)
        terms = self._reader.terms
        scopes = terms.map(lambda its: {node_id: its.places.scope(node) for node_id, node in nodes.items()})
        starts = {start for its in groups.values() for start in its}
        pods = {pod.id: pod for pod in members_of(connection, self._reader.cluster, groups, starts)}
        ids: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for pod in pods.values():
            ids[tuple(sorted(groups[pod.group]))].add(pod.id)
        members: dict[_Place, list[PodFacts]] = defaultdict(list)
        for facts in _read(connection, ids):
            pod = pods[facts.pod_id]
            members[(facts.start, scopes.at(facts.start)[pod.node_id], pod.group)].append(facts)
        labels = label_sets(connection, {group.label_set_id for group in groups})
        names = {(group.namespace, group.workload, labels[group.label_set_id]): group for group in groups}
        named = {(namespace, workload) for namespace, workload, _ in names}  # first: an hour has rows of all pods
        for hour in sorted({start - start % HOUR for start in starts}):
            policy = terms.at(hour).policy
            for row in read(connection, plans.hour(hour)).rows:
                if (row.namespace, row.workload) not in named:
                    continue
                text = json.dumps(dict(row.labels), sort_keys=True, separators=(",", ":"))
                group = names.get((row.namespace, row.workload, text))
                if group is None:
                    continue
                parts = sorted(
                    members.get((row.start, row.scope, group), ()), key=lambda f: (pods[f.pod_id].uid, f.pod_id)
                )
                if not any((row.start, facts.pod_id) in wanted for facts in parts):
                    continue
                weights = [PodWeight(facts.energy_uj, facts.held_uj, facts.reserved) for facts in parts]
                for facts, figures in zip(parts, split_row(row.figures, weights, policy), strict=True):
                    for run in wanted.get((row.start, facts.pod_id), ()):
                        run.add(figures)


def _cover(connection: sa.Connection, runs: Sequence[_Run]) -> None:
    """What each answer covers: whole parts of hours, as its namespace's facts are split."""
    first = min((run.query.start for run in runs), default=0)
    last = max((run.query.end for run in runs), default=0)
    cuts = load_cuts(connection, first - first % HOUR, last + HOUR)
    for run in runs:
        run.covers = covered_range(run.query.start, run.query.end, cuts.of(run.query.namespace))


def open_slices(
    connection: sa.Connection, cluster: str, revisions: Mapping[int, int], namespaces: Iterable[str]
) -> dict[str, list[tuple[int, int]]]:
    """[start, end) of the slices of these hours that are not sealed, by namespace."""
    first, last = min(revisions, default=0), max(revisions, default=0) + HOUR
    sealed = sealed_hours(connection, cluster, first, last)
    cuts = load_cuts(connection, first, last)
    found: dict[str, list[tuple[int, int]]] = {}
    for namespace in namespaces:
        its = cuts.of(namespace)
        inside: dict[int, list[int]] = defaultdict(list)
        for cut in its:
            inside[cut - cut % HOUR].append(cut)
        found[namespace] = [
            (start, slice_end(start, its))
            for hour in revisions
            if hour not in sealed
            for start in (hour, *inside[hour])
        ]
    return found


def _read(connection: sa.Connection, ids: Mapping[tuple[int, ...], set[int]]) -> Iterable[PodFacts]:
    """The facts of pods, by the slices that each set of them is looked for in."""
    seen: set[tuple[int, int]] = set()
    for starts, some in ids.items():
        for facts in read_pods(connection, sorted(some), starts) if starts else ():
            if (facts.start, facts.pod_id) not in seen:
                seen.add((facts.start, facts.pod_id))
                yield facts
