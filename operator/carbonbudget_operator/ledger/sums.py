"""Node reports to sums of facts, by primary key. Pure: ids and slices come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from carbonbudget_agent.exact import share_out
from carbonbudget_agent.report import Domain, NodeReport, PodUsage

Sums = dict[tuple[object, ...], list[int]]


@dataclass(slots=True)
class Batch:
    """What one transaction adds: rows of the tables node_hour, pod_hour and pod_energy."""

    node_facts: Sums = field(default_factory=dict)
    pod_facts: Sums = field(default_factory=dict)
    pod_energy: Sums = field(default_factory=dict)

    def add(self, node_id: int, pod_ids: Sequence[int], report: NodeReport, parts: Mapping[int, int]) -> None:
        """One report; `pod_ids` in the order of its pods, `parts` the slices it lies in, by seconds of overlap."""
        for domain in report.domains:
            self._add_domain(node_id, domain, report.pods, parts)
        for pod_id, pod in zip(pod_ids, report.pods, strict=True):
            self._add_pod(pod_id, pod, parts)

    def _add_domain(self, node_id: int, domain: Domain, pods: Sequence[PodUsage], parts: Mapping[int, int]) -> None:
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

    def _add_pod(self, pod_id: int, pod: PodUsage, parts: Mapping[int, int]) -> None:
        requests, duration_ms = pod.requests, pod.duration_ms
        usage = [
            pod.cpu_us,
            pod.memory_byte_seconds,
            pod.gpu_ms,
            requests.cpu_millicores * duration_ms,
            requests.memory_bytes * duration_ms // 1000,
            requests.gpus * duration_ms,
            duration_ms,
        ]
        names = pod.energy_uj.keys() | pod.idle_uj.keys() if pod.idle_uj else pod.energy_uj.keys()
        if len(parts) == 1:  # an ordinary window: 150,000 of these a minute at 5,000 nodes
            (start,) = parts
            _sum(self.pod_facts, (start, pod_id), usage)
            for name in names:
                energy = [pod.energy_uj.get(name, 0), pod.idle_uj.get(name, 0)]
                _sum(self.pod_energy, (start, pod_id, name), energy)
            return
        spread = [_spread(value, parts) for value in usage]
        for start in parts:
            _sum(self.pod_facts, (start, pod_id), [values[start] for values in spread])
        for name in names:
            own, held = (_spread(energies.get(name, 0), parts) for energies in (pod.energy_uj, pod.idle_uj))
            for start in parts:
                _sum(self.pod_energy, (start, pod_id, name), [own[start], held[start]])


def _spread(total: int, parts: Mapping[int, int]) -> Mapping[int, int]:
    return share_out(total, parts) if len(parts) > 1 else dict.fromkeys(parts, total)


def _sum(sums: Sums, key: tuple[object, ...], values: list[int]) -> None:
    former = sums.get(key)
    sums[key] = values if former is None else [a + b for a, b in zip(former, values, strict=True)]
