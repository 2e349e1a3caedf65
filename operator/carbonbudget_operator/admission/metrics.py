"""The webhook's metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class AdmissionMetrics:
    """`age` gives the age of the table of projections in seconds, NaN without one."""

    def __init__(self, registry: CollectorRegistry, age: Callable[[], float]) -> None:
        self.reviews = Counter("carbonbudget_admission_reviews", "Reviews by outcome.", ("outcome",), registry=registry)
        self.duration = Histogram(
            "carbonbudget_admission_duration_seconds", "One review.", buckets=_SECONDS, registry=registry
        )
        self.refusals = Counter(
            "carbonbudget_admission_refusals", "Refusals by what they rest on.", ("basis",), registry=registry
        )
        self.warnings = Counter("carbonbudget_admission_warnings", "Warnings given.", registry=registry)
        self.events = Counter(
            "carbonbudget_admission_events",
            "Events about reviews by what became of them.",
            ("fate",),
            registry=registry,
        )
        for outcome in ("allowed", "warned", "refused", "bad"):
            self.reviews.labels(outcome)
        for basis in ("Used", "Projected"):
            self.refusals.labels(basis)
        for fate in ("posted", "failed", "dropped", "repeated"):
            self.events.labels(fate)
        gauge = Gauge(
            "carbonbudget_admission_projection_age_seconds",
            "Age of the table of rates and former runs; NaN without one.",
            registry=registry,
        )
        gauge.set_function(age)
