"""Records until when the data of each watch is complete, and how often a watch was restarted.

Readiness probes and /metrics read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class WatchStatus:
    """One watch. `current_at` begins with its start, so that the age of a watch that never lists is visible too."""

    def __init__(self, path: str, now: Callable[[], float], since: float | None = None) -> None:
        self.path, self._now = path, now
        self.current_at = now() if since is None else since

    def is_current(self) -> None:
        """A whole list, a change or a bookmark arrived, so the data is complete until now."""
        self.current_at = self._now()


class WatchStatuses:
    """All running watches of a client. `now` returns UTC seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._running: list[WatchStatus] = []
        self._ended: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self.restarts: dict[str, int] = {}

    @contextmanager
    def of(self, path: str) -> Iterator[WatchStatus]:
        """Register a watch of `path` until the block ends."""
        watched = WatchStatus(path, self._now, self._since.pop(path, None))
        self._running.append(watched)
        try:
            yield watched
        finally:
            self._running.remove(watched)
            self._ended[path] = watched.current_at

    def failed(self, path: str) -> None:
        """A watch of `path` ended by a defect. The next one takes over its age: a restart makes no data current."""
        self.restarts[path] = self.restarts.get(path, 0) + 1
        current_at = (self._ended | self.current_at()).get(path)
        if current_at is not None:
            self._since[path] = current_at

    def forget(self, path: str) -> None:
        """Forget a watch that is no longer needed."""
        self._ended.pop(path, None)
        self._since.pop(path, None)

    def current_at(self) -> dict[str, float]:
        """UTC seconds by path. Includes watches that wait for a restart; of several watches of a path, the oldest."""
        found = dict(self._since)
        for watched in self._running:
            found[watched.path] = min(watched.current_at, found.get(watched.path, watched.current_at))
        return found


class WatchMetrics(Collector):
    """Exports the times and restarts. A time and not an age, so that a stopped watch ages between two scrapes too."""

    def __init__(self, registry: CollectorRegistry, watches: WatchStatuses) -> None:
        self._watches = watches
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Called with each scrape."""
        gauge = GaugeMetricFamily(
            "carbonbudget_watch_current_timestamp_seconds",
            "UTC second up to which the data of the watch is known to be complete.",
            labels=("path",),
        )
        for path, at in sorted(self._watches.current_at().items()):
            gauge.add_metric((path,), at)
        yield gauge
        restarts = CounterMetricFamily(
            "carbonbudget_watch_restarts", "Watches that ended by a defect of carbonbudget and were restarted.",
            labels=("path",),
        )  # fmt: skip
        for path, count in sorted(self._watches.restarts.items()):
            restarts.add_metric((path,), count)
        yield restarts
