"""What enforcement did, for the controller's /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class EnforcementMetrics:
    """Counters start at 0 for each action, so that a first one is seen as an increase."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.actions = Counter(
            "carbonbudget_enforcement_actions", "What was done to Jobs.", ("action",), registry=registry
        )
        for action in ("announce", "withdraw", "suspend", "keep", "plan", "resume", "unmark"):
            self.actions.labels(action)
        self.failures = Counter(
            "carbonbudget_enforcement_failures", "Writes or rounds that failed; tried again.", registry=registry
        )
        self.overtaken = Counter(
            "carbonbudget_enforcement_overtaken",
            "Writes to Jobs that somebody else changed first; decided anew.",
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
            "Finished Jobs by what became of their figures.",
            ("fate",),
            registry=registry,
        )
        for fate in ("annotated", "event", "nodata", "dropped"):
            self.figures.labels(fate)
        self.annotations = Counter(
            "carbonbudget_enforcement_annotations", "Writes of annotations other than final figures.", registry=registry
        )
