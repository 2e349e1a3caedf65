"""Metrics of exports, by target."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class ExportMetrics:
    """What was sent, what failed, and how far each target is behind."""

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.batches = Counter("carbonbudget_export_batches", "Requests with rows that the target accepted.",
                               ["target"], registry=registry)  # fmt: skip
        self.rows = Counter("carbonbudget_export_rows", "Points or samples that the target accepted.",
                            ["target"], registry=registry)  # fmt: skip
        self.failures = Counter(
            "carbonbudget_export_failures", "Attempts that ended early: the target or the ledger was away.",
            ["target"], registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "carbonbudget_export_rows_refused", "Points or samples that the target refused and that it will not get.",
            ["target"], registry=registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "carbonbudget_export_hours_waiting", "Closed hours, new or restated, that the target does not have.",
            ["target"], registry=registry,
        )  # fmt: skip
        self._lag = Gauge(
            "carbonbudget_export_lag_seconds",
            "Age of the oldest closed hour of which the target has nothing, from when it was closed; 0 without one.",
            ["target"], registry=registry,
        )  # fmt: skip
        self._closed_at: dict[str, int] = {}

    def add(self, target: str) -> None:
        """Show a target, with zeros."""
        for counter in (self.batches, self.rows, self.failures, self.refused):
            counter.labels(target)
        self._waiting.labels(target)
        self._lag.labels(target).set_function(lambda: self._lag_of(target))

    def behind(self, target: str, hours: int, closed_at: int | None) -> None:
        """How many hours a target lacks, and the UTC second when the oldest new one of them was closed."""
        self._waiting.labels(target).set(hours)
        if closed_at is None:
            self._closed_at.pop(target, None)
        else:
            self._closed_at[target] = closed_at

    def _lag_of(self, target: str) -> float:
        closed_at = self._closed_at.get(target)
        return 0.0 if closed_at is None else max(0.0, self._now() - closed_at)
