"""Facts as the ledger returns them: one node in one hour, with its pods. Plain dataclasses.

Where a budget starts or ends inside the hour, the pods of its namespace are several facts: one for each part of the
hour. Times are [start, end) in UTC seconds. Energy in microjoules, request integrals in millicore-milliseconds: one
core used for one microsecond is one of those, so that they compare with CPU time as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CPU: Final = "cpu"  # the domain that every agent measures or models


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Who the node is and what it offers; the place decides the grid."""

    id: int
    name: str
    provider_id: str
    region: str
    zone: str
    instance_type: str
    cpu_millicores: int
    threads: int = 0
    gpus: int = 0


@dataclass(slots=True)
class DomainFacts:
    """One domain's energy. `metered_uj` is the part of `measured_uj` that no model made."""

    measured_uj: int = 0
    idle_uj: int = 0
    system_uj: int = 0
    unseen_uj: int = 0
    metered_uj: int = 0
    duration_ms: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PodGroup:
    """What can be asked for: pods that agree in these are one row. The same ones are the same object."""

    namespace: str
    workload: str
    labels: Mapping[str, str]


@dataclass(slots=True)
class PodGroupFacts:
    """The pods of one group on the node in the slice, summed up.

    `reserved` adds up max(request, use) of each pod in millicore-milliseconds, `gpu_reserved_ms` the GPUs they
    requested. `part` is the part of the hour that they are of, where the hour is split for their namespace.
    """

    group: PodGroup
    pods: int = 0
    energy_uj: dict[str, int] = field(default_factory=dict)
    idle_uj: dict[str, int] = field(default_factory=dict)
    cpu_us: int = 0
    reserved: int = 0
    gpu_reserved_ms: int = 0
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class NodeSlice:
    """All that is known of one node in one hour, as far as it has reported. A group may come once for each part."""

    node: NodeFacts
    start: int
    end: int
    domains: Mapping[str, DomainFacts]
    groups: tuple[PodGroupFacts, ...]
    reported_from: int = 0  # when the node reported first of all, if that is later than `start`

    @property
    def duration_ms(self) -> int:
        """The time that the node was there: of the domain that it reported longest."""
        return max((domain.duration_ms for domain in self.domains.values()), default=0)

    @property
    def covered_ms(self) -> int:
        """The time that has all of the node's energy: of the domain that it reported shortest.

        0 without the CPU's domain, which every agent has: if it is missing, its counter had no figure. A meter that the
        hour has nothing of is not known here.
        """
        if CPU not in self.domains:
            return 0
        return min(domain.duration_ms for domain in self.domains.values())
