"""The node's own metrics for Prometheus: energy by pod and by part of the node, and the agent's health."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from prometheus_client import start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from carbonbudget_agent.counts import Counts
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.report import NodeReport

_KEEP_SECONDS = 600  # ended pods stay long enough to be scraped twice
_JOULE = 1_000_000


class Exporter(Collector):
    """Sums closed windows into counters; a pod's series goes some minutes after its last window."""

    def __init__(self, counts: Counts, outbox: Outbox | None) -> None:
        self._counts, self._outbox = counts, outbox
        self._lock = threading.Lock()
        self._pods: dict[tuple[str, str, str, str], tuple[int, float]] = {}
        self._node: dict[tuple[str, str, str], int] = {}

    def serve(self, address: str, port: int) -> None:
        """Answer /metrics in a thread. Raises OSError if the port is taken."""
        registry = CollectorRegistry()
        registry.register(self)
        start_http_server(port, address, registry)

    def add(self, report: NodeReport) -> None:
        """One closed window."""
        methods = {domain.name: domain.method for domain in report.domains}
        now = time.monotonic()
        with self._lock:
            for domain in report.domains:
                for part in ("idle", "system", "unseen"):
                    self._count(domain.name, domain.method, part, int(getattr(domain, f"{part}_uj")))
            for pod in report.pods:
                for name in pod.energy_uj.keys() | pod.idle_uj.keys():
                    energy_uj = pod.energy_uj.get(name, 0) + pod.idle_uj.get(name, 0)
                    key = (pod.namespace, pod.name, name, methods[name])
                    self._pods[key] = (self._pods.get(key, (0, now))[0] + energy_uj, now)
                    self._count(name, methods[name], "pods", energy_uj)
            self._pods = {k: entry for k, entry in self._pods.items() if now - entry[1] < _KEEP_SECONDS}

    def _count(self, domain: str, method: str, part: str, energy_uj: int) -> None:
        key = (domain, method, part)
        self._node[key] = self._node.get(key, 0) + energy_uj

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads."""
        pods = CounterMetricFamily(
            "carbonbudget_pod_energy_joules",
            "Energy of a pod on this node by domain, held idle included.",
            labels=("namespace", "pod", "domain", "method"),
        )
        node = CounterMetricFamily(
            "carbonbudget_node_energy_joules",
            "Energy of this node by domain and by who bears it: idle, system, unseen, pods.",
            labels=("domain", "method", "part"),
        )
        with self._lock:
            for labels, (energy_uj, _) in self._pods.items():
                pods.add_metric(labels, energy_uj / _JOULE)
            for labels3, energy_uj in self._node.items():
                node.add_metric(labels3, energy_uj / _JOULE)
        yield pods
        yield node
        yield from self._health()

    def _health(self) -> Iterator[Metric]:
        counts = self._counts
        for name, help_text, value in (
            ("windows", "Windows closed.", counts.windows),
            ("meter_errors", "Readings that failed; their stretch has no energy.", counts.meter_errors),
            ("checkpoint_errors", "Checkpoints that could not be written.", counts.checkpoint_errors),
            ("outbox_errors", "Reports that could not be stored at once.", counts.outbox_errors),
            ("reports_dropped", "Reports dropped because the outbox was full.", counts.dropped),
            ("reports_corrupt", "Reports whose file could not be read.", counts.corrupt),
            ("reports_sent", "Reports that the ledger has.", counts.sent),
            ("send_errors", "Attempts that reached no server.", counts.send_errors),
        ):
            yield CounterMetricFamily(f"carbonbudget_agent_{name}", help_text, value=value)
        refused = CounterMetricFamily(
            "carbonbudget_agent_reports_refused", "Answers other than 2xx, by status.", labels=("status",)
        )
        for status, count in list(counts.refused.items()):
            refused.add_metric((str(status),), count)
        yield refused
        yield GaugeMetricFamily(
            "carbonbudget_agent_sample_duration_seconds",
            "How long the last look took.",
            counts.sample_ms / 1000,
        )
        if self._outbox is not None:
            depth, size = self._outbox.size()
            yield GaugeMetricFamily("carbonbudget_agent_outbox_reports", "Reports that wait.", depth)
            yield GaugeMetricFamily("carbonbudget_agent_outbox_bytes", "Bytes that wait.", size)
