"""The Prometheus metrics of the admission webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class AdmissionMetrics:
    """The metrics of one process.

    `age` returns the age of the table of projections in seconds, NaN without a table. `crowded` returns, for each kind
    of object, the number of namespaces of which some objects are not cached.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        age: Callable[[], float],
        crowded: Mapping[str, Callable[[], float]],
    ) -> None:
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
        self.too_large = Counter(
            "carbonbudget_admission_too_large",
            "Reviews of which only the beginning was read, by their answer.",
            ("answer",),
            registry=registry,
        )
        self.tracked = Counter(
            "carbonbudget_admission_tracked_pods",
            "Pods with a run label, by what was done with them.",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("patched", "unchanged", "too_large"):
            self.tracked.labels(outcome)
        for answer in ("refused", "allowed", "unreadable"):
            self.too_large.labels(answer)
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
        namespaces = Gauge(
            "carbonbudget_admission_crowded_namespaces",
            "Namespaces of which some objects are not kept in memory, because they have too many.",
            ("what",),
            registry=registry,
        )
        for what, count in crowded.items():
            namespaces.labels(what).set_function(count)
