"""Pods from the node's own kubelet, for clusters in which agents shall not watch the API server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from http.client import HTTPException
from typing import Any

from carbonbudget_agent.https_client import Endpoint, StatusError
from carbonbudget_agent.json_stream import read_items
from carbonbudget_agent.pods.pod_cache import PodCache
from carbonbudget_agent.pods.pod_info import POD_PARTS, PodInfo, parse_pod
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.backoff import Backoff

_log = logging.getLogger(__name__)
_REFRESH_SECONDS = 10.0
_SOONEST_SECONDS = 1.0
TIMEOUT_SECONDS = 3.0  # the sampling loop waits for it, and it is on this node


class KubeletPods:
    """`--kubelet-url`: GET /pods with the right nodes/pods, each ten seconds and when a new pod is seen.

    `now` returns seconds of a steady clock.
    """

    def __init__(
        self, kubelet: Endpoint, node: str, counts: WorkCounters, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._kubelet, self._node, self._counts, self._now = kubelet, node, counts, now
        self._known = PodCache(counts)
        self._backoff = Backoff(_SOONEST_SECONDS, _REFRESH_SECONDS)
        self._due = self._soonest = now()
        self._unknown: frozenset[str] = frozenset()
        self._failing = False

    def expect(self, uids: Collection[str]) -> None:
        """Request the list at once for new cgroups; only once for a cgroup that the kubelet does not list."""
        self._known.seen(uids, self._now())
        unknown = frozenset(uids).difference(self._known.snapshot())
        fresh = unknown - self._unknown
        self._unknown = self._unknown & unknown
        if fresh and self._now() >= self._soonest:
            self._unknown |= fresh
            self._ask()

    def pods(self) -> Mapping[str, PodInfo]:
        """The kubelet's list; while it does not answer, the last one."""
        if self._now() >= self._due:
            self._ask()
        return self._known.snapshot()

    def close(self) -> None:
        """Nothing runs in the background."""

    def _ask(self) -> None:
        asked = self._now()
        fields: dict[str, Any] = {}
        try:
            with closing(self._kubelet.stream("/pods")) as chunks:
                items = read_items(chunks, POD_PARTS, fields)
                self._known.replace((parse_pod(item, self._node) for item in items), asked)
            self._failing = False
            self._backoff.reset()
            self._soonest, self._due = asked + _SOONEST_SECONDS, asked + _REFRESH_SECONDS
        except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
            self._counts.pod_errors += 1
            if not self._failing:  # once, until it works again
                _log.warning("the kubelet's pods cannot be read, the last list is used: %s", error)
            self._failing = True
            wanted_s = error.retry_after_seconds if isinstance(error, StatusError) else 0
            self._soonest = self._due = asked + self._backoff.pause_seconds(wanted_s)
