"""The node's own metrics for Prometheus: energy by pod and by part of the node, and the agent's health."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from carbonbudget_agent.metrics_listener import MetricsListener
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeReport

_KEEP_SECONDS = 600.0  # ended pods stay long enough to be scraped twice
# A counter whose first sample is not 0 loses that sample in increase(); so a new series stands at 0 for a
# minute, in which every Prometheus with a usual interval sees it.
_ZERO_SECONDS = 60.0
_MAX_PODS = 4_000  # series of pods; a node has at most some hundred pods, the rest have ended
_JOULE = 1_000_000
_L = TypeVar("_L", bound=tuple[str, ...])


@dataclass(slots=True)
class _Series:
    """One counter: its sum, and when it began and was last in a report."""

    began: float
    last: float
    energy_uj: int = 0


class Exporter(Collector):
    """Sums closed windows into counters. A pod's series ends some minutes after its last window.

    `now` returns seconds of a steady clock.
    """

    def __init__(
        self,
        counts: WorkCounters,
        outbox: Outbox | None,
        now: Callable[[], float] = time.monotonic,
        max_pods: int = _MAX_PODS,
    ) -> None:
        self._counts, self._outbox, self._now, self._max_pods = counts, outbox, now, max_pods
        self._lock = threading.Lock()
        self._pods: dict[tuple[str, str, str, str], _Series] = {}
        self._node: dict[tuple[str, str, str], _Series] = {}
        self._left_out = 0

    def serve(self, address: str, port: int, alive: Callable[[], bool] = lambda: True) -> Callable[[], None]:
        """Answer /metrics and /healthz in a thread, until what is returned is called.

        Raises OSError if the port is taken.
        """
        registry = CollectorRegistry()
        registry.register(self)
        server = MetricsListener(address, port, registry, alive)
        thread = threading.Thread(target=server.answer_until_stopped, name="metrics", daemon=True)
        thread.start()

        def stop() -> None:
            server.stop()
            thread.join()
            server.server_close()

        return stop

    def add(self, report: NodeReport) -> None:
        """Add one closed window."""
        methods = {domain.name: domain.method for domain in report.domains}
        now = self._now()
        with self._lock:
            for domain in report.domains:
                for part in ("idle", "system", "unseen"):
                    self._count(self._node, (domain.name, domain.method, part), getattr(domain, f"{part}_uj"), now)
            for pod in report.pods:
                for name, method in methods.items():
                    energy_uj = pod.energy_uj.get(name, 0) + pod.idle_uj.get(name, 0)
                    key = (pod.namespace, pod.name, name, method)
                    if energy_uj or key in self._pods:
                        self._count(self._pods, key, energy_uj, now)
                        self._count(self._node, (name, method, "pods"), energy_uj, now)
            self._forget(now)

    @staticmethod
    def _count(table: dict[_L, _Series], key: _L, energy_uj: int, now: float) -> None:
        series = table.setdefault(key, _Series(now, now))
        series.energy_uj += energy_uj
        series.last = now

    def _forget(self, now: float) -> None:
        """Remove pods that ended a while ago; beyond the limit, those that ended first."""
        self._pods = {key: series for key, series in self._pods.items() if now - series.last < _KEEP_SECONDS}
        too_many = len(self._pods) - self._max_pods
        if too_many > 0:
            for key in sorted(self._pods, key=lambda key: self._pods[key].last)[:too_many]:
                del self._pods[key]
            self._left_out += too_many

    def collect(self) -> Iterator[Metric]:
        """All metrics, for a scrape."""
        pods = CounterMetricFamily(
            "carbonbudget_pod_energy_joules",
            "Energy of a pod on this node by domain, held idle included; 0 for its first minute.",
            labels=("namespace", "pod", "domain", "method"),
        )
        node = CounterMetricFamily(
            "carbonbudget_node_energy_joules",
            "Energy of this node by domain and part: idle, system, unseen, pods; 0 for the first minute.",
            labels=("domain", "method", "part"),
        )
        now = self._now()
        with self._lock:
            for family, table in ((pods, self._pods), (node, self._node)):
                for labels, series in table.items():
                    new = now - series.began < _ZERO_SECONDS
                    family.add_metric(labels, 0 if new else series.energy_uj / _JOULE)
            left_out = self._left_out
        yield pods
        yield node
        yield CounterMetricFamily(
            "carbonbudget_agent_pod_series_left_out",
            "Series of ended pods that were removed early, because there were too many.",
            value=left_out,
        )
        yield from self._health()

    def _health(self) -> Iterator[Metric]:
        counts = self._counts
        for name, help_text, value in (
            ("windows", "Windows closed.", counts.windows),
            ("meter_errors", "Meter readings that failed or could not be true.", counts.meter_errors),
            (
                "meter_doubts",
                "Readings that another sensor contradicts: package and dram above psys.",
                counts.meter_doubts,
            ),
            (
                "meter_implausible",
                "Readings without a figure: a counter stepped back, or its device cannot draw as much.",
                counts.meter_implausible,
            ),
            ("pod_errors", "Failures to read this node's pods; the last list is used.", counts.pod_errors),
            ("pods_left_out", "Pods that are not stored, because too many wait on this node.", counts.pods_left_out),
            (
                "pods_disputed",
                "Cgroups of static pods that more than one pod claims; their energy is not given to a claimant.",
                counts.pods_disputed,
            ),
            (
                "node_errors",
                "Samples at which the node's busy time could not be read; the last one is used.",
                counts.node_errors,
            ),
            ("cgroup_errors", "Lists of pods' cgroups that failed; the last list is used.", counts.cgroup_errors),
            ("cpu_beyond", "Samples at which cgroups showed more CPU time than the node has.", counts.cpu_beyond),
            ("device_errors", "Samples at which it was unclear which pod holds or uses a GPU.", counts.device_errors),
            ("gpu_unclaimed", "Samples at which a pod worked on a GPU that it does not hold.", counts.gpu_unclaimed),
            ("checkpoint_errors", "Checkpoints that could not be written.", counts.checkpoint_errors),
            ("outbox_errors", "Reports that could not be stored at once.", counts.outbox_errors),
            ("reports_dropped", "Reports dropped because the outbox was full.", counts.dropped),
            ("reports_corrupt", "Reports whose file could not be read.", counts.corrupt),
            ("reports_delayed", "Reports that were delayed: the server refuses or fails at them.", counts.delayed),
            ("reports_rejected", "Reports that are not sent again: no server accepts them.", counts.rejected),
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
            "How long the last sample took.",
            counts.sample_ms / 1000,
        )
        yield GaugeMetricFamily(
            "carbonbudget_agent_devices_unmatched",
            "Device ids of NVIDIA that pods hold and that fit no GPU of the driver.",
            counts.devices_unmatched,
        )
        if self._outbox is not None:
            depth, size = self._outbox.size()
            waiting = depth + counts.in_memory
            yield GaugeMetricFamily(
                "carbonbudget_agent_outbox_reports", "Reports that wait, those in memory included.", waiting
            )
            yield GaugeMetricFamily(
                "carbonbudget_agent_outbox_memory_reports",
                "Reports that wait in memory, because the disk cannot be written.",
                counts.in_memory,
            )
            yield GaugeMetricFamily("carbonbudget_agent_outbox_bytes", "Bytes that wait on the disk.", size)
            yield GaugeMetricFamily(
                "carbonbudget_agent_outbox_delayed_reports",
                "Reports that are tried again, up to 20 in an hour, because the server refuses or fails at them.",
                len(self._outbox.delayed()),
            )
