"""Metrics of counting units."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class UnitMetrics:
    """Queries to Prometheus, and hours of counters that are not known."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queries = Counter("carbonbudget_unit_queries", "Queries to the store of units.", registry=registry)
        self.failures = Counter(
            "carbonbudget_unit_query_failures", "Queries to the store of units without a usable answer.",
            registry=registry,
        )  # fmt: skip
        self.last_success = Gauge(
            "carbonbudget_units_last_success_timestamp_seconds",
            "UTC second of the last usable answer of the store of units; 0 without one.", registry=registry,
        )  # fmt: skip
        self._hours = Gauge(
            "carbonbudget_unit_hours",
            "Hours of counters that are not known: not asked for yet, failed and asked again, or missing: not in the "
            "store, or given up in the last 7 days. Of the server whose turn it is; 0 of the others.",
            ["state"], registry=registry,
        )  # fmt: skip
        self.show(0, 0, 0)

    def show(self, waiting: int, failed: int, missing: int) -> None:
        """Set the numbers of hours."""
        for state, number in (("waiting", waiting), ("failed", failed), ("missing", missing)):
            self._hours.labels(state).set(number)
