"""The window: sums the attributed energy and use of all samples of a minute, then makes the node report from them.

It exists because the agent samples every few seconds and reports once a minute. Pure: no I/O and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from carbonbudget_agent.attribution import AttributedEnergy
from carbonbudget_agent.pods.pod_info import PodInfo
from carbonbudget_agent.usage import Usage
from carbonbudget_core.node_report import DomainUse, NodeInfo, NodeReport, PodUsage


@dataclass(slots=True)
class _DomainSum:
    method: str
    boundary: str
    measured_uj: int = 0
    idle_uj: int = 0
    system_uj: int = 0
    unseen_uj: int = 0
    low_uj: int | None = None
    high_uj: int | None = None
    duration_ms: int = 0


@dataclass(slots=True)
class _PodSum:
    energy_uj: dict[str, int] = field(default_factory=dict)
    idle_uj: dict[str, int] = field(default_factory=dict)
    cpu_us: int = 0
    gpu_ms: int = 0
    memory_byte_ms: int = 0
    duration_ms: int = 0

    def add(self, other: _PodSum) -> None:
        """Add what another cgroup of the same pod used."""
        for mine, theirs in ((self.energy_uj, other.energy_uj), (self.idle_uj, other.idle_uj)):
            for name, energy_uj in theirs.items():
                mine[name] = mine.get(name, 0) + energy_uj
        self.cpu_us += other.cpu_us
        self.gpu_ms += other.gpu_ms
        self.memory_byte_ms += other.memory_byte_ms
        self.duration_ms = max(self.duration_ms, other.duration_ms)


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """The node that reports, and its boot."""

    cluster: str
    node: str
    boot_id: str


class Window:
    """One open window [start, end) in UTC seconds; `since` is earlier only after a gap."""

    def __init__(self, start: int, end: int, since: int, part: int) -> None:
        self.start, self.end, self.since, self.part = start, end, since, part
        self._domains: dict[str, _DomainSum] = {}
        self._pods: dict[str, _PodSum] = {}
        self._infos: dict[str, PodInfo] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return not self._pods and not self._domains

    @property
    def pods(self) -> Set[str]:
        """The uids of the cgroups that something was added for."""
        return self._pods.keys()

    def reach_back(self, since: int) -> None:
        """Let the window's time begin at `since`. The ledger spreads the window's energy over that time."""
        self.since = max(0, min(self.since, since))

    def add(self, usage: Usage, domains: Iterable[AttributedEnergy], infos: Mapping[str, PodInfo]) -> None:
        """Add what was used and drawn between two samples. `infos` are pods by the uid of their cgroup."""
        for uid, cpu_us in usage.pods_cpu_us.items():
            pod, present_ms = self._pods.setdefault(uid, _PodSum()), usage.pods_ms.get(uid, usage.elapsed_ms)
            pod.cpu_us += cpu_us
            pod.memory_byte_ms += usage.pods_memory_bytes.get(uid, 0) * present_ms
            pod.duration_ms += present_ms
        for shares in domains:
            self._add_domain(shares)
        for uid in self._pods:
            if uid in infos:
                self._infos[uid] = infos[uid]

    def _add_domain(self, shares: AttributedEnergy) -> None:
        domain = shares.domain
        total = self._domains.setdefault(domain.name, _DomainSum(domain.method, domain.boundary))
        total.measured_uj += domain.energy_uj
        total.idle_uj += shares.idle_uj
        total.system_uj += shares.system_uj
        total.unseen_uj += shares.unseen_uj
        total.duration_ms += domain.elapsed_ms
        if domain.low_uj is not None:
            total.low_uj = (total.low_uj or 0) + domain.low_uj
        if domain.high_uj is not None:
            total.high_uj = (total.high_uj or 0) + domain.high_uj
        for uid, energy_uj in shares.pods_uj.items():
            energies = self._pods.setdefault(uid, _PodSum()).energy_uj
            energies[domain.name] = energies.get(domain.name, 0) + energy_uj
        for uid, idle_uj in shares.pods_idle_uj.items():
            idles = self._pods.setdefault(uid, _PodSum()).idle_uj
            idles[domain.name] = idles.get(domain.name, 0) + idle_uj
        for uid, gpu_ms in shares.pods_gpu_ms.items():
            self._pods.setdefault(uid, _PodSum()).gpu_ms += gpu_ms

    def close(self, identity: NodeIdentity, info: NodeInfo, infos: Mapping[str, PodInfo]) -> NodeReport:
        """The node report. The energy of a pod whose name is unknown is counted as unseen.

        A report names each pod once, so two cgroups of one pod are added up.
        """
        named: dict[str, tuple[PodInfo, _PodSum]] = {}
        for uid, total in sorted(self._pods.items()):
            known = self._infos.get(uid) or infos.get(uid)
            if known is None:
                for part in (total.energy_uj, total.idle_uj):
                    for name, energy_uj in part.items():
                        self._domains[name].unseen_uj += energy_uj
            elif known.uid in named:
                named[known.uid][1].add(total)
            else:
                named[known.uid] = known, total
        pods = [_pod_usage(known, total) for known, total in named.values()]
        domains = tuple(
            DomainUse(
                name=name,
                method=total.method,
                boundary=total.boundary,
                duration_ms=total.duration_ms,
                measured_uj=total.measured_uj,
                idle_uj=total.idle_uj,
                system_uj=total.system_uj,
                unseen_uj=total.unseen_uj,
                low_uj=total.low_uj,
                high_uj=total.high_uj,
            )
            for name, total in self._domains.items()
        )
        return NodeReport(
            cluster=identity.cluster,
            node=identity.node,
            boot_id=identity.boot_id,
            window_start=self.start,
            window_end=self.end,
            since=self.since,
            part=self.part,
            node_info=info,
            domains=domains,
            pods=tuple(pods),
        )


def _pod_usage(known: PodInfo, total: _PodSum) -> PodUsage:
    return PodUsage(
        uid=known.uid,
        namespace=known.namespace,
        name=known.name,
        controller=known.controller,
        labels=known.labels,
        energy_uj={name: energy_uj for name, energy_uj in total.energy_uj.items() if energy_uj},
        idle_uj={name: idle_uj for name, idle_uj in total.idle_uj.items() if idle_uj},
        cpu_us=total.cpu_us,
        gpu_ms=total.gpu_ms,
        memory_byte_seconds=total.memory_byte_ms // 1000,
        requests=known.requests,
        duration_ms=total.duration_ms,
    )
