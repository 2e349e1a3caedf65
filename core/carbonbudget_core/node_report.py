"""The node report: the energy and use of one node's pods in one window, as the agent sends it to the server.

This module has plain dataclasses and checks. It uses the standard library only, does no I/O and reads no clock. So a
report means the same on the node that wrote it, in the server and in the file that `carbonbudget ledger import` reads.
node_report_json.py reads and writes its JSON.

Units: energy in integer microjoules (``_uj``), time in whole UTC seconds or milliseconds (``_ms``),
CPU time in microseconds (``_us``). Windows are half-open: [window_start, window_end).

A domain conserves when::

    measured_uj == idle_uj + system_uj + unseen_uj + sum over pods (energy_uj + idle_uj)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

REPORT_VERSION: Final = 1
METHODS: Final = ("rapl", "hwmon", "nvml", "model")
BOUNDARIES: Final = ("package", "board", "wall")
WINDOW_SECONDS: Final = (10, 15, 20, 30, 60)
MAX_LABELS: Final = 64
MAX_TEXT: Final = 512
# As Kubernetes bounds a label's key: a name, and before a slash a domain.
MAX_LABEL_NAME: Final = 63
MAX_LABEL_PREFIX: Final = 253
# Far above any real figure (a year of a 1 GW node), and far enough below a database's 2**63 - 1.
MAX_INTEGER: Final = 2**60


class ReportError(ValueError):
    """A report that cannot be accepted; its message is one line with the reason."""


@dataclass(frozen=True, slots=True)
class Allocatable:
    """What the node offers to pods: CPU in millicores, memory in bytes, whole GPUs."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Facts about the node; an empty text means unknown. `threads` are logical CPUs."""

    provider_id: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    cpu_model: str = ""
    threads: int = 0
    memory_bytes: int = 0
    allocatable: Allocatable = field(default_factory=Allocatable)


@dataclass(frozen=True, slots=True)
class DomainUse:
    """One meter's energy over the window, and the parts of it that belong to no pod.

    `duration_ms` is the time the meter really covered. A modelled domain also carries its range
    (`low_uj` <= measured_uj <= `high_uj`); a measured one carries none.
    """

    name: str
    method: str
    boundary: str
    duration_ms: int
    measured_uj: int
    idle_uj: int
    system_uj: int
    unseen_uj: int
    low_uj: int | None = None
    high_uj: int | None = None


@dataclass(frozen=True, slots=True)
class PodController:
    """The pod's controlling owner as the pod itself names it (a ReplicaSet, not its Deployment)."""

    kind: str
    name: str
    uid: str


# These two are not frozen, but no code changes them. Python takes several times as long to create a frozen one, and the
# server creates 300,000 of them a minute for 5,000 nodes.


@dataclass(slots=True)
class PodRequests:
    """What the pod reserves: CPU in millicores, memory in bytes, whole GPUs."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    gpus: int = 0


@dataclass(slots=True)
class PodUsage:
    """One pod's share of the window: energy and held idle per domain, and what it used.

    `duration_ms` is how long the pod was seen within the window; the request integrals of the ledger
    are `requests` times that.
    """

    uid: str
    namespace: str
    name: str
    controller: PodController | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    energy_uj: Mapping[str, int] = field(default_factory=dict)
    idle_uj: Mapping[str, int] = field(default_factory=dict)
    cpu_us: int = 0
    memory_byte_seconds: int = 0
    gpu_ms: int = 0
    requests: PodRequests = field(default_factory=PodRequests)
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node's window. (cluster, node, boot_id, window_start, part) identifies it."""

    cluster: str
    node: str
    boot_id: str
    window_start: int
    window_end: int
    domains: tuple[DomainUse, ...]
    pods: tuple[PodUsage, ...]
    node_info: NodeInfo = field(default_factory=NodeInfo)
    part: int = 0
    since: int = -1  # -1: same as window_start, that is, no gap before it
    version: int = REPORT_VERSION

    def __post_init__(self) -> None:
        """`since` left out means that the report covers its own window only."""
        if self.since < 0:
            object.__setattr__(self, "since", self.window_start)

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """What makes a report count once, however often it arrives."""
        return (self.cluster, self.node, self.boot_id, self.window_start, self.part)


def check_report(report: NodeReport) -> None:
    """Raise `ReportError` unless times are aligned, names known and every domain conserves."""
    length = report.window_end - report.window_start
    if length not in WINDOW_SECONDS or report.window_start % length:
        raise ReportError(
            f"window [{report.window_start}, {report.window_end}) is not one of "
            f"{', '.join(map(str, WINDOW_SECONDS))} seconds aligned to UTC"
        )
    if report.since > report.window_start:
        raise ReportError(f"since {report.since} lies after window_start {report.window_start}")
    shares: dict[str, int] = {}
    for domain in report.domains:
        if domain.name in shares:
            raise ReportError(f"domain {domain.name!r} appears twice")
        shares[domain.name] = domain.idle_uj + domain.system_uj + domain.unseen_uj
        if domain.low_uj is not None and domain.low_uj > domain.measured_uj:
            raise ReportError(f"domain {domain.name!r}: low_uj is above measured_uj")
        if domain.high_uj is not None and domain.high_uj < domain.measured_uj:
            raise ReportError(f"domain {domain.name!r}: high_uj is below measured_uj")
    seen: set[str] = set()
    for pod in report.pods:
        if pod.uid in seen:
            raise ReportError(f"pod uid {pod.uid!r} appears twice")
        seen.add(pod.uid)
        for part in (pod.energy_uj, pod.idle_uj):
            for name, energy_uj in part.items():
                if name not in shares:
                    raise ReportError(f"pod {pod.uid!r} has energy in domain {name!r}, which the report lacks")
                shares[name] += energy_uj
    for domain in report.domains:
        if shares[domain.name] != domain.measured_uj:
            raise ReportError(
                f"domain {domain.name!r} does not conserve: measured_uj {domain.measured_uj}, "
                f"but idle, system, unseen and pods add up to {shares[domain.name]}"
            )
