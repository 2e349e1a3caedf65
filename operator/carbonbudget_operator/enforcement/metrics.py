"""The Prometheus metrics of enforcement, served by the controller's /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


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
