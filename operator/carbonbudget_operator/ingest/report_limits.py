"""What a node can have and what its pods can have used: a report's claims, bounded. Pure.

A node may say anything of itself. What the API server's Node says stands in its place (`cluster/capacities.py`); what
no machine can have is refused. Figures: the largest machines that run Kubernetes today have 1,920 threads, 32 TiB of
memory and 16 GPUs; a GPU may be offered in some hundred shares. The bounds lie well above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from carbonbudget_core.exact import share_list
from carbonbudget_core.node_report import Allocatable, NodeReport, PodRequests, PodUsage
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.report_bounds import reported_ms

_GPU_METERS: Final = 64
# Use and time are read one after the other, and a tick may come late.
_LATE_MS: Final = 10_000


# More than any machine has.
PHYSICAL: Final = Allocatable(cpu_millicores=8_192_000, memory_bytes=2**46, gpus=4_096)


def check_physical(report: NodeReport) -> None:
    """Raise Refusal 422 for a node or pods that cannot be."""
    info = report.node_info
    offered = info.allocatable
    if (
        info.threads * 1000 > PHYSICAL.cpu_millicores or info.memory_bytes > PHYSICAL.memory_bytes
        or exceeds(offered, PHYSICAL)
    ):  # fmt: skip
        raise Refusal(422, "impossible", "node_info says more threads, memory or GPUs than a machine can have")
    gpus = _gpu_meters(report)
    if gpus > _GPU_METERS:
        raise Refusal(422, "impossible", f"the report has {gpus} GPUs, a machine can have {_GPU_METERS}")
    if not fits(report, PHYSICAL):
        raise Refusal(422, "impossible", "its pods have use or requests that cannot be: more than any machine has")


def fits(report: NodeReport, limits: Allocatable) -> bool:
    """Whether all pods together used at most what the node has in the report's time, and none reserves more."""
    cpu_us = byte_seconds = gpu_ms = 0
    most_cpu, most_memory, most_gpus = limits.cpu_millicores, limits.memory_bytes, limits.gpus
    for pod in report.pods:
        requests = pod.requests
        if requests.cpu_millicores > most_cpu or requests.memory_bytes > most_memory or requests.gpus > most_gpus:
            return False
        cpu_us += pod.cpu_us
        byte_seconds += pod.memory_byte_seconds
        gpu_ms += pod.gpu_ms
    most = _most(report, limits)
    return cpu_us <= most[0] and byte_seconds <= most[1] and gpu_ms <= most[2]


def cut_to(report: NodeReport, limits: Allocatable) -> NodeReport:
    """The report with its pods' use and requests cut to what the node has; energies stay as they are."""
    columns = zip(*((pod.cpu_us, pod.memory_byte_seconds, pod.gpu_ms) for pod in report.pods), strict=True)
    used = [_cut(column, most) for column, most in zip(columns, _most(report, limits), strict=True)]
    pods = tuple(_with(pod, use, limits) for pod, use in zip(report.pods, zip(*used, strict=True), strict=True))
    return replace(report, pods=pods)


def _most(report: NodeReport, limits: Allocatable) -> tuple[int, int, int]:
    """Microseconds of CPU, byte-seconds of memory and milliseconds of GPUs that the node has in the report's time."""
    time_ms = reported_ms(report) + _LATE_MS
    gpus = max(limits.gpus, min(_gpu_meters(report), _GPU_METERS))
    return limits.cpu_millicores * time_ms, limits.memory_bytes * time_ms // 1000, gpus * time_ms


def _cut(values: Sequence[int], most: int) -> Sequence[int]:
    return values if sum(values) <= most else share_list(most, values)


def _with(pod: PodUsage, use: tuple[int, ...], limits: Allocatable) -> PodUsage:
    requests = pod.requests
    cpu_us, byte_seconds, gpu_ms = use
    cut = PodRequests(
        min(requests.cpu_millicores, limits.cpu_millicores),
        min(requests.memory_bytes, limits.memory_bytes),
        min(requests.gpus, limits.gpus),
    )
    return replace(pod, cpu_us=cpu_us, memory_byte_seconds=byte_seconds, gpu_ms=gpu_ms, requests=cut)


def _gpu_meters(report: NodeReport) -> int:
    return sum(domain.name.startswith("gpu:") for domain in report.domains)


def exceeds(claimed: Allocatable | PodRequests, limits: Allocatable) -> bool:
    """Whether any of them is above its limit."""
    return (
        claimed.cpu_millicores > limits.cpu_millicores
        or claimed.memory_bytes > limits.memory_bytes
        or claimed.gpus > limits.gpus
    )
