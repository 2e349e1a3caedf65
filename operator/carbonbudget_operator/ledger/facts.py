"""Facts as the ledger gives them: one node in one slice of time, with its pods. Plain dataclasses.

A slice is an hour, or a part of one where a budget's period starts or ends inside it: [start, end) in
UTC seconds. Energy in microjoules, request integrals in millicore-milliseconds: one core used for one
microsecond is one of those, so that they compare with `cpu_us` as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """One domain's energy. `metered_uj` is the part of `measured_uj` that no model made."""

    measured_uj: int
    idle_uj: int
    system_uj: int
    unseen_uj: int
    metered_uj: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod's energy, held idle and use in the slice."""

    uid: str
    namespace: str
    name: str
    workload: str
    labels: Mapping[str, str]
    energy_uj: Mapping[str, int]
    idle_uj: Mapping[str, int]
    cpu_us: int
    cpu_request_millicore_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class NodeSlice:
    """All that is known of one node in one slice."""

    node: NodeFacts
    start: int
    end: int
    domains: Mapping[str, DomainFacts]
    pods: tuple[PodFacts, ...]
