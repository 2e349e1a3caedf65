"""Up to when each watch is known to have told everything, for /metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Watched:
    """One watch. Before it has told anything it is as old as its begin: one that never comes to list shows too."""

    def __init__(self, path: str, now: Callable[[], float]) -> None:
        self.path, self._now = path, now
        self.current_at = now()

    def is_current(self) -> None:
        """Something came that proves it: a whole list, a change, a bookmark."""
        self.current_at = self._now()


class Watches:
    """The watches that run now. `now` gives UTC seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._running: list[Watched] = []

    @contextmanager
    def of(self, path: str) -> Iterator[Watched]:
        """A watch of `path`, counted until the block is left."""
        watched = Watched(path, self._now)
        self._running.append(watched)
        try:
            yield watched
        finally:
            self._running.remove(watched)

    def current_at(self) -> dict[str, float]:
        """UTC seconds by path; of several watches of one path the oldest."""
        found: dict[str, float] = {}
        for watched in self._running:
            found[watched.path] = min(watched.current_at, found.get(watched.path, watched.current_at))
        return found


class WatchMetrics(Collector):
    """A time and not an age, as Prometheus advises: what stands still is seen to age between two scrapes too."""

    def __init__(self, registry: CollectorRegistry, watches: Watches) -> None:
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
