"""Computes the rows that a batch of node reports adds to the ledger, by primary key. Pure: ids and cuts are arguments.

The rows of all reports of a batch are added up here, so that the database gets each row once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from carbonbudget_core.exact_division import share_out
from carbonbudget_core.node_report import DomainUse, NodeReport, PodUsage
from carbonbudget_operator.ledger.cuts import Cuts
from carbonbudget_operator.ledger.time_slices import HOUR, spread

# Complete rows by their primary key, which is their first columns.
Sums = dict[tuple[object, ...], tuple[Any, ...]]


class ReportSlices:
    """The time that a report covers: hours, for its domains, and slices of them, for the pods of a namespace.

    An ordinary window lies in the slice in which it starts. After a gap a report spans several, pro rata in time.
    """

    def __init__(self, report: NodeReport, cuts: Cuts) -> None:
        self._since, self._end, self._cuts = report.since, report.window_end, cuts
        self.spans_gap = report.since < report.window_start
        start = report.window_start
        self.hours = spread(report.since, report.window_end, ()) if self.spans_gap else {start - start % HOUR: 1}
        # Where an ordinary window's facts go: those of all namespaces, and those of namespaces with cuts of their own.
        self.start, self.own_starts = cuts.starts(start)
        self._slices: dict[str, dict[int, dict[int, int]]] = {}

    def of(self, namespace: str) -> Mapping[int, Mapping[int, int]]:
        """The slices of each hour, by seconds of overlap."""
        name = namespace if namespace in self._cuts.own else ""
        found = self._slices.get(name)
        if found is None:
            found = {hour: {} for hour in self.hours}
            for start, overlap in spread(self._since, self._end, self._cuts.of(name)).items():
                found[start - start % HOUR][start] = overlap
            self._slices[name] = found
        return found

    def slices(self, namespace: str) -> int:
        """How many slices the facts of a namespace's pod go to."""
        return sum(map(len, self.of(namespace).values())) if self.spans_gap else 1

    @property
    def most_slices(self) -> int:
        """An upper limit of the slices of one fact."""
        return len(self.hours) + self._cuts.most if self.spans_gap else 1


@dataclass(slots=True)
class FactBatch:
    """What one transaction adds: rows of the tables node_hour, pod_hour and pod_energy."""

    node_facts: Sums = field(default_factory=dict)
    pod_facts: Sums = field(default_factory=dict)
    pod_energy: Sums = field(default_factory=dict)

    def add(self, node_id: int, pod_ids: Sequence[int], report: NodeReport, parts: ReportSlices) -> None:
        """One report; `pod_ids` in the order of its pods."""
        for domain in report.domains:
            self._add_domain(node_id, domain, report.pods, parts.hours)
        if not parts.spans_gap:
            self._add_window(parts, pod_ids, report.pods)
            return
        for pod_id, pod in zip(pod_ids, report.pods, strict=True):
            self._spread_pod(pod_id, pod, parts)

    def _add_window(self, parts: ReportSlices, pod_ids: Sequence[int], pods: Sequence[PodUsage]) -> None:
        """An ordinary window, in one slice: 150,000 pods a minute at 5,000 nodes, so few calls are made for each."""
        facts, energies = self.pod_facts, self.pod_energy
        every, own_starts = parts.start, parts.own_starts
        for pod_id, pod in zip(pod_ids, pods, strict=True):
            start = own_starts.get(pod.namespace, every) if own_starts else every
            key: tuple[object, ...] = (start, pod_id)
            row: tuple[Any, ...] = (start, pod_id, *_usage(pod))
            facts[key] = row if key not in facts else _added(facts[key], row, 2)
            own, idle = pod.energy_uj, pod.idle_uj
            for name in own.keys() | idle.keys() if idle else own:
                key = (start, pod_id, name)
                row = (start, pod_id, name, own.get(name, 0), idle.get(name, 0))
                energies[key] = row if key not in energies else _added(energies[key], row, 3)

    def _add_domain(self, node_id: int, domain: DomainUse, pods: Sequence[PodUsage], parts: Mapping[int, int]) -> None:
        """Each component is spread on its own and `measured` is their sum, so that every slice conserves."""
        idle, system, unseen = (_spread(value, parts) for value in (domain.idle_uj, domain.system_uj, domain.unseen_uj))
        low, high = (_spread(value or 0, parts) for value in (domain.low_uj, domain.high_uj))
        duration = _spread(domain.duration_ms, parts)
        measured = {start: idle[start] + system[start] + unseen[start] for start in parts}
        if len(parts) == 1:  # what the report conserves, the slice does
            measured = dict.fromkeys(parts, domain.measured_uj)
        else:
            for pod in pods:
                for energies in (pod.energy_uj, pod.idle_uj):
                    for start, energy_uj in _spread(energies.get(domain.name, 0), parts).items():
                        measured[start] += energy_uj
        for start in parts:
            _sum(
                self.node_facts,
                (start, node_id, domain.name, domain.method, domain.boundary),
                [
                    duration[start], measured[start], idle[start], system[start], unseen[start],
                    low[start], high[start],
                ],
            )  # fmt: skip

    def _spread_pod(self, pod_id: int, pod: PodUsage, parts: ReportSlices) -> None:
        slices = parts.of(pod.namespace)
        spread_out = [_spread_twice(value, parts.hours, slices) for value in _usage(pod)]
        starts = [start for its in slices.values() for start in its]
        for start in starts:
            _sum(self.pod_facts, (start, pod_id), [values[start] for values in spread_out])
        for name in pod.energy_uj.keys() | pod.idle_uj.keys():
            own, idle = (
                _spread_twice(energies.get(name, 0), parts.hours, slices) for energies in (pod.energy_uj, pod.idle_uj)
            )
            for start in starts:
                _sum(self.pod_energy, (start, pod_id, name), [own[start], idle[start]])


def _usage(pod: PodUsage) -> tuple[int, ...]:
    """The counts of pod_hour, in its columns' order."""
    requests, duration_ms = pod.requests, pod.duration_ms
    return (
        pod.cpu_us, pod.memory_byte_seconds, pod.gpu_ms, requests.cpu_millicores * duration_ms,
        requests.memory_bytes * duration_ms // 1000, requests.gpus * duration_ms, duration_ms,
    )  # fmt: skip


def _spread(total: int, parts: Mapping[int, int]) -> Mapping[int, int]:
    return share_out(total, parts) if len(parts) > 1 else dict.fromkeys(parts, total)


def _spread_twice(total: int, hours: Mapping[int, int], slices: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
    """Over the hours as a domain is, then each hour's part over its slices: so that every hour conserves."""
    return {
        start: value
        for hour, part in _spread(total, hours).items()
        for start, value in _spread(part, slices[hour]).items()
    }


def _sum(sums: Sums, key: tuple[object, ...], values: list[int]) -> None:
    row = (*key, *values)
    sums[key] = row if key not in sums else _added(sums[key], row, len(key))


def _added(earlier: tuple[Any, ...], row: tuple[Any, ...], keys: int) -> tuple[Any, ...]:
    return (*row[:keys], *(a + b for a, b in zip(earlier[keys:], row[keys:], strict=True)))
