"""Checks whether a report can be true: its cluster, time, number of pods, power, and the use of its pods. Pure.

A node can report anything about itself, so the server rejects what no machine can have. `report_verifier.py` replaces
what the API server knows better. The largest machines that run Kubernetes today have 1,920 threads, 32 TiB of memory
and 16 GPUs; a GPU may be shared by some hundred pods. The limits here are well above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from carbonbudget_core.exact_division import share_list
from carbonbudget_core.node_report import Allocatable, NodeReport, PodRequests, PodUsage
from carbonbudget_operator.ingest.name_checks import NameChecks
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.booking import BookingResult
from carbonbudget_operator.ledger.report_bounds import MAX_ROWS, reported_ms

_FUTURE_SECONDS: Final = 30
# Kubernetes is made for 110 pods a node, and few nodes have more than 500, pods that ended within the minute included.
_MAX_PODS: Final = 4_000
_MAX_DOMAINS: Final = 256
_GPU_METERS: Final = 64
# Use and time are read one after the other, and a sample may be late.
_LATE_MS: Final = 10_000
# More than any machine has.
PHYSICAL: Final = Allocatable(cpu_millicores=8_192_000, memory_bytes=2**46, gpus=4_096)
_names = NameChecks()
_NOT_BOOKED = {
    BookingResult.SEALED: (422, "sealed", "the window's hour is sealed: it takes no more reports"),
    BookingResult.TOO_MANY: (422, "impossible", "the node's hour holds more windows than an hour can have"),
    BookingResult.IMPOSSIBLE: (
        422, "impossible", "its hour would hold more energy than a node can draw, or a domain twice its time",
    ),
    BookingResult.TOO_LARGE: (
        413, "too_large", f"the report is more than {MAX_ROWS} rows: its gap is too long for its pods",
    ),
}  # fmt: skip


def check_report_is_possible(
    report: NodeReport, cluster: str, max_node_watts: int, now: int, oldest_days: int = 35
) -> None:
    """Raise Refusal if the report cannot be true.

    Status 422 for another cluster, a window that is too old, a name, power or use that is impossible; 425 for a window
    in the future; 413 for too many pods or domains. `now` is UTC seconds.
    """
    if report.cluster != cluster:
        raise Refusal(422, "cluster", f"the report is of cluster {report.cluster!r}, this is {cluster!r}")
    if report.window_end > now + _FUTURE_SECONDS:
        # An agent that is stopped closes the minute that has begun, and the next agent sends it at once.
        seconds = report.window_end - now
        reason = f"the window ends {seconds} s in the future and is taken then; if that goes on, check the clocks"
        raise Refusal(425, "future", reason, 5)
    if report.since < now - oldest_days * 86_400:
        raise Refusal(422, "too_old", f"the window is older than {oldest_days} days")
    for what, number, most in (("pods", len(report.pods), _MAX_PODS), ("domains", len(report.domains), _MAX_DOMAINS)):
        if number > most:
            raise Refusal(413, "too_large", f"the report has {number} {what}, {most} are allowed")
    _names.check(report)
    check_power(report, max_node_watts)
    check_physical(report)


def check_power(report: NodeReport, max_node_watts: int) -> None:
    """Raise Refusal 422 for more time or power than a node can have. Power is over the time that the meters covered."""
    span_ms = (report.window_end - report.since) * 1000
    total_uj = 0
    for domain in report.domains:
        # The sample that ends a window may be a little late, never by a whole window.
        if domain.duration_ms > 2 * span_ms:
            raise Refusal(422, "impossible", f"domain {domain.name!r} covers {domain.duration_ms} ms of {span_ms} ms")
        total_uj += domain.measured_uj
    for pod in report.pods:
        if pod.duration_ms > 2 * span_ms:
            raise Refusal(422, "impossible", f"pod {pod.uid!r} was there for {pod.duration_ms} ms of {span_ms} ms")
    longest_ms = max((domain.duration_ms for domain in report.domains), default=0)
    if total_uj > max_node_watts * 1000 * longest_ms:  # W x ms x 1000 = uJ
        watts = total_uj // (1000 * longest_ms) if longest_ms else "infinitely many"
        raise Refusal(422, "impossible", f"{watts} W is above the limit of {max_node_watts} W for a node")


def check_physical(report: NodeReport) -> None:
    """Raise Refusal 422 for a node, or for use and requests of pods, beyond `PHYSICAL`."""
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
    """Whether all pods together used at most what `limits` allow in the report's time, and no pod requests more."""
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
    """The report with its pods' use and requests cut to `limits`. The energies are unchanged."""
    columns = zip(*((pod.cpu_us, pod.memory_byte_seconds, pod.gpu_ms) for pod in report.pods), strict=True)
    used = [_at_most(column, most) for column, most in zip(columns, _most(report, limits), strict=True)]
    pods = tuple(_limited(pod, use, limits) for pod, use in zip(report.pods, zip(*used, strict=True), strict=True))
    return replace(report, pods=pods)


def _most(report: NodeReport, limits: Allocatable) -> tuple[int, int, int]:
    """Microseconds of CPU, byte-seconds of memory and milliseconds of GPUs that are possible in the report's time."""
    time_ms = reported_ms(report) + _LATE_MS
    gpus = max(limits.gpus, min(_gpu_meters(report), _GPU_METERS))
    return limits.cpu_millicores * time_ms, limits.memory_bytes * time_ms // 1000, gpus * time_ms


def _at_most(values: Sequence[int], most: int) -> Sequence[int]:
    return values if sum(values) <= most else share_list(most, values)


def _limited(pod: PodUsage, use: tuple[int, ...], limits: Allocatable) -> PodUsage:
    requests = pod.requests
    cpu_us, byte_seconds, gpu_ms = use
    limited = PodRequests(
        min(requests.cpu_millicores, limits.cpu_millicores),
        min(requests.memory_bytes, limits.memory_bytes),
        min(requests.gpus, limits.gpus),
    )
    return replace(pod, cpu_us=cpu_us, memory_byte_seconds=byte_seconds, gpu_ms=gpu_ms, requests=limited)


def _gpu_meters(report: NodeReport) -> int:
    return sum(domain.name.startswith("gpu:") for domain in report.domains)


def exceeds(claimed: Allocatable | PodRequests, limits: Allocatable) -> bool:
    """Whether CPU, memory or GPUs are above their limit."""
    return (
        claimed.cpu_millicores > limits.cpu_millicores
        or claimed.memory_bytes > limits.memory_bytes
        or claimed.gpus > limits.gpus
    )


def require_booked(result: BookingResult, report: NodeReport) -> None:
    """Raise Refusal unless the report is in the ledger: stored now, or before."""
    if result is BookingResult.CONFLICT:
        reason = f"window {report.window_start} part {report.part} is stored with other content"
        raise Refusal(409, "conflict", reason)
    if result in _NOT_BOOKED:
        raise Refusal(*_NOT_BOOKED[result])
