"""Up to when each watch is known to be complete, for readiness and /metrics; how often one was restarted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class WatchStatus:
    """One watch. Before it has told anything it is as old as its begin: one that never comes to list shows too."""

    def __init__(self, path: str, now: Callable[[], float], since: float | None = None) -> None:
        self.path, self._now = path, now
        self.current_at = now() if since is None else since

    def is_current(self) -> None:
        """Something came that proves it: a whole list, a change, a bookmark."""
        self.current_at = self._now()


class WatchStatuses:
    """The watches that run now. `now` gives UTC seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._running: list[WatchStatus] = []
        self._ended: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self.restarts: dict[str, int] = {}

    @contextmanager
    def of(self, path: str) -> Iterator[WatchStatus]:
        """A watch of `path`, counted until the block is left."""
        watched = WatchStatus(path, self._now, self._since.pop(path, None))
        self._running.append(watched)
        try:
            yield watched
        finally:
            self._running.remove(watched)
            self._ended[path] = watched.current_at

    def failed(self, path: str) -> None:
        """A watch of `path` ended by a defect. The next one is as old as it was: a restart alone makes none current."""
        self.restarts[path] = self.restarts.get(path, 0) + 1
        current_at = (self._ended | self.current_at()).get(path)
        if current_at is not None:
            self._since[path] = current_at

    def forget(self, path: str) -> None:
        """The watch of `path` is not needed any more."""
        self._ended.pop(path, None)
        self._since.pop(path, None)

    def current_at(self) -> dict[str, float]:
        """UTC seconds by path; of several watches of one path the oldest, and one that is to be restarted too."""
        found = dict(self._since)
        for watched in self._running:
            found[watched.path] = min(watched.current_at, found.get(watched.path, watched.current_at))
        return found


class WatchMetrics(Collector):
    """A time and not an age, as Prometheus advises: what stands still is seen to age between two scrapes too."""

    def __init__(self, registry: CollectorRegistry, watches: WatchStatuses) -> None:
        self._watches = watches
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Called with each scrape."""
        gauge = GaugeMetricFamily(
            "carbonbudget_watch_current_timestamp_seconds",
            "UTC second at which what the watch has told was last known to be all.",
            labels=("path",),
        )
        for path, at in sorted(self._watches.current_at().items()):
            gauge.add_metric((path,), at)
        yield gauge
        restarts = CounterMetricFamily(
            "carbonbudget_watch_restarts", "Watches that ended by a defect of ours and were started again.",
            labels=("path",),
        )  # fmt: skip
        for path, count in sorted(self._watches.restarts.items()):
            restarts.add_metric((path,), count)
        yield restarts
