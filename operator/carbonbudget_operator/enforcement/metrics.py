"""The Prometheus metrics of enforcement, served by the controller's /metrics."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from carbonbudget_operator.enforcement.deferral_actions import (
    DeferredJobSummary,
)


class EnforcementMetrics:
    """Counters start at 0 for each label value, so that the first count is an increase to Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.actions = Counter("carbonbudget_enforcement_actions", "Actions on Jobs.", ("action",), registry=registry)
        for action in ("announce", "withdraw", "suspend", "keep", "plan", "resume", "unmark"):
            self.actions.labels(action)
        self.failures = Counter(
            "carbonbudget_enforcement_failures", "Writes or rounds that failed and are tried again.", registry=registry
        )
        self.overtaken = Counter(
            "carbonbudget_enforcement_overtaken",
            "Writes to Jobs that changed in the meantime, so that they are decided about again.",
            registry=registry,
        )
        self.suspended = Gauge(
            "carbonbudget_enforcement_suspended_jobs", "Jobs that are suspended by budgets now.", registry=registry
        )
        self.conflicts = Gauge(
            "carbonbudget_enforcement_conflicts",
            "Budgets whose suspended Jobs somebody else resumed.",
            registry=registry,
        )
        self.figures = Counter(
            "carbonbudget_enforcement_final_figures",
            "Finished Jobs by the result for their final figures.",
            ("fate",),
            registry=registry,
        )
        for fate in ("annotated", "event", "nodata", "dropped"):
            self.figures.labels(fate)
        self.annotations = Counter(
            "carbonbudget_enforcement_annotations", "Writes of annotations other than final figures.", registry=registry
        )
        self.deferrals = Counter(
            "carbonbudget_deferral_actions", "Actions on deferred Jobs.", ("action",), registry=registry
        )
        for action in ("choose", "spread", "hold", "start", "decline", "leave"):
            self.deferrals.labels(action)
        self.deferred = Gauge(
            "carbonbudget_deferred_jobs",
            "Jobs that wait for the start that was chosen.",
            ("namespace",),
            registry=registry,
        )
        self.deferred_start = Gauge(
            "carbonbudget_deferred_job_start_timestamp_seconds",
            "The earliest chosen start of a Job that waits.",
            ("namespace",),
            registry=registry,
        )
        self.deferred_latest_start = Gauge(
            "carbonbudget_deferred_job_latest_start_timestamp_seconds",
            "The earliest start after which a Job that waits cannot end by its deadline.",
            ("namespace",),
            registry=registry,
        )

    def report_waiting(self, waiting: Mapping[str, DeferredJobSummary]) -> None:
        """The deferred Jobs that wait, by namespace; a namespace without any is no longer reported."""
        for gauge in (self.deferred, self.deferred_start, self.deferred_latest_start):
            gauge.clear()
        for namespace, jobs in waiting.items():
            self.deferred.labels(namespace).set(jobs.count)
            if jobs.start:
                self.deferred_start.labels(namespace).set(jobs.start)
            if jobs.latest_start:
                self.deferred_latest_start.labels(namespace).set(jobs.latest_start)
