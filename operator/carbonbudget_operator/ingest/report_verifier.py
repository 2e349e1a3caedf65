"""Compares what a report says of its node and pods with the API server, and corrects the report.

A node could report false figures; the API server's are used instead. The node's place and size are the API server's.
Pods' use and requests are cut to what the node has. A pod that the API server never had on that node is removed, and
its energy counts as the node's `unseen`. A pod that cannot be verified, because the watch of pods does not reach its
time, is accepted within the node's limits, and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from operator import attrgetter
from typing import Final, Protocol

import prometheus_client as prometheus

from carbonbudget_core.node_report import MAX_LABELS, Allocatable, DomainUse, NodeInfo, NodeReport, PodUsage
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.report_checks import cut_to, exceeds, fits
from carbonbudget_operator.printable import printable

_log = logging.getLogger(__name__)
# Twice the time between two bookmarks of a watch that works.
_WAIT_SECONDS: Final = 120
_RETRY_SECONDS: Final = 15
_MAX_LOGGED: Final = 10_000
_MAX_NODES: Final = 50_000
_GOOD_SECONDS: Final = 3_600
# The fields that the API server's Node has: all but the CPU's model.
_INFO: Final = attrgetter(
    "threads", "memory_bytes", "allocatable", "provider_id", "region", "zone", "instance_type"
)  # fmt: skip


class ListedNode(Protocol):
    """A node as the API server has it."""

    @property
    def info(self) -> NodeInfo:
        """All but the CPU's model."""

    @property
    def capacity(self) -> Allocatable:
        """CPU, memory and GPUs of the node."""


class ListedNodes(Protocol):
    """The API server's nodes."""

    def find(self, node: str) -> ListedNode | None:
        """The node of this name; None if it is unknown."""

    def doubt(self, node: str) -> None:
        """Read this node again soon: it may have changed."""


class ListedPods(Protocol):
    """The API server's pods."""

    @property
    def current_at(self) -> float:
        """UTC second up to which all pods are known."""

    def knows_all(self, since: int) -> bool:
        """Whether every pod that has run since the UTC second `since` is known."""

    def place(self, uid: str) -> str | None:
        """ "node/namespace/name" of a pod; None for one that is not known."""

    def labels(self, uid: str, namespace: str, reported: Mapping[str, str]) -> Mapping[str, str]:
        """A pod's labels: all that a budget selects by, and others up to 64 in all."""


class ReportVerifier:
    """Verifies reports. Each correction is counted, and logged once for each node."""

    def __init__(self, nodes: ListedNodes, pods: ListedPods, registry: prometheus.CollectorRegistry) -> None:
        self._nodes, self._pods = nodes, pods
        self._logged: set[tuple[str, str]] = set()
        # By node: a digest of its pods' places when all were right, and the UTC second until which that is used.
        self._good: dict[str, tuple[bytes, int]] = {}
        self._corrected = prometheus.Counter(
            "carbonbudget_ingest_nodes_corrected", "Reports whose node has less, or is elsewhere, by the API server.",
            ("what",), registry=registry,
        )  # fmt: skip
        self._compared = prometheus.Counter(
            "carbonbudget_ingest_pods_compared", "Pods in reports that are not as the API server has them, by outcome.",
            ("outcome",), registry=registry,
        )  # fmt: skip
        for outcome in ("unseen", "unverified", "renamed"):
            self._compared.labels(outcome)
        for what in ("node_info", "use"):
            self._corrected.labels(what)

    def verify(self, report: NodeReport, now: int) -> NodeReport:
        """The corrected report. Raises Refusal 503 for an unknown pod that the watch may report soon."""
        return self._label_pods(self._verify_pods(self._verify_node(report), now))

    def _verify_node(self, report: NodeReport) -> NodeReport:
        known = self._nodes.find(report.node)
        if known is None:
            return report
        claimed = report.node_info
        if _INFO(claimed) != _INFO(known.info):
            info = replace(known.info, cpu_model=claimed.cpu_model)
            if _claims_more(claimed, info):
                self._corrected.labels("node_info").inc()
                self._nodes.doubt(report.node)
                self._log_once(report.node, "node_info", "says that it has more, or is elsewhere, than its Node object")
            report = replace(report, node_info=info)
        if not fits(report, known.capacity):
            self._corrected.labels("use").inc()
            self._nodes.doubt(report.node)
            self._log_once(report.node, "use", "reports pods that use or reserve more than it has")
            report = cut_to(report, known.capacity)
        return report

    def _verify_pods(self, report: NodeReport, now: int) -> NodeReport:
        place, node = self._pods.place, report.node
        # Mostly these are the pods of the minute before, and a pod's place never changes until it ends.
        places = "\n".join([f"{pod.namespace}\n{pod.name}\n{pod.uid}" for pod in report.pods])
        digest = blake2b(places.encode(), digest_size=16).digest()
        good, until = self._good.get(node, (b"", 0))
        if good == digest and now < until:
            return report
        other = [pod for pod in report.pods if place(pod.uid) != f"{node}/{pod.namespace}/{pod.name}"]
        if not other:
            if len(self._good) >= _MAX_NODES:  # an autoscaler always makes new nodes
                self._good.clear()
            self._good[node] = (digest, now + _GOOD_SECONDS)
            return report
        false: set[str] = set()
        renamed: dict[str, PodUsage] = {}
        unverified = 0
        for pod in other:
            where = place(pod.uid)
            if where is None and not self._never_was(report, pod, now):
                unverified += 1
            elif where is not None and where.startswith(f"{node}/"):
                _, namespace, name = where.split("/")
                renamed[pod.uid] = replace(pod, namespace=namespace, name=name)
            else:
                false.add(pod.uid)
        if unverified:
            self._compared.labels("unverified").inc(unverified)
        if renamed:
            self._compared.labels("renamed").inc(len(renamed))
            self._log_once(node, "renamed", "names pods otherwise than the API server, whose names are used")
            report = replace(report, pods=tuple(renamed.get(pod.uid, pod) for pod in report.pods))
        if false:
            self._compared.labels("unseen").inc(len(false))
            first = printable(next(iter(false)))
            self._log_once(node, "unseen", f"reports pods that the API server never had there, such as {first}")
            report = _without(report, false)
        return report

    def _label_pods(self, report: NodeReport) -> NodeReport:
        """Agents report the first 64 labels by name; the others come from the API server."""
        for pod in report.pods:
            if len(pod.labels) >= MAX_LABELS:
                return replace(report, pods=tuple(map(self._label, report.pods)))
        return report

    def _label(self, pod: PodUsage) -> PodUsage:
        if len(pod.labels) < MAX_LABELS:
            return pod
        return replace(pod, labels=self._pods.labels(pod.uid, pod.namespace, pod.labels))

    def _never_was(self, report: NodeReport, pod: PodUsage, now: int) -> bool:
        if not self._pods.knows_all(report.since):
            return False
        if self._pods.current_at > report.window_end:
            return True
        if now < report.window_end + _WAIT_SECONDS:
            reason = f"the watch of the API server has not reported pod {printable(pod.uid)} yet: send the report again"
            raise Refusal(503, "pod_unknown", reason, _RETRY_SECONDS)
        return False  # the watch does not work, which its own metric shows

    def _log_once(self, node: str, kind: str, message: str) -> None:
        if (node, kind) not in self._logged and len(self._logged) < _MAX_LOGGED:
            self._logged.add((node, kind))
            _log.warning("node %s %s", node, message)


def _claims_more(claimed: NodeInfo, known: NodeInfo) -> bool:
    """Whether the report claims another place or more size. An empty field claims nothing: an agent has just begun."""
    places = (
        (claimed.provider_id, known.provider_id), (claimed.region, known.region), (claimed.zone, known.zone),
        (claimed.instance_type, known.instance_type),
    )  # fmt: skip
    return (
        any(mine and mine != its for mine, its in places)
        or claimed.threads > known.threads
        or claimed.memory_bytes > known.memory_bytes
        or exceeds(claimed.allocatable, Allocatable(known.threads * 1000, known.memory_bytes, known.allocatable.gpus))
    )


def _without(report: NodeReport, uids: set[str]) -> NodeReport:
    """The report without these pods: their energy is counted as `unseen` in its domain."""
    pods = tuple(pod for pod in report.pods if pod.uid not in uids)
    left = [pod for pod in report.pods if pod.uid in uids]
    return replace(report, pods=pods, domains=tuple(_domains(report.domains, left)))


def _domains(domains: Sequence[DomainUse], left: Sequence[PodUsage]) -> Iterable[DomainUse]:
    for domain in domains:
        energy_uj = sum(pod.energy_uj.get(domain.name, 0) + pod.idle_uj.get(domain.name, 0) for pod in left)
        yield replace(domain, unseen_uj=domain.unseen_uj + energy_uj) if energy_uj else domain
