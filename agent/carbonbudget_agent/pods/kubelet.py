"""Pods from the node's own kubelet, for who wants no watch at the API server and trusts its certificate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from http.client import HTTPException

from carbonbudget_agent.counts import Counts
from carbonbudget_agent.http import Endpoint
from carbonbudget_agent.jsons import parse_items
from carbonbudget_agent.pods.info import PodInfo, parse_pod
from carbonbudget_agent.pods.known import KnownPods

_log = logging.getLogger(__name__)
_REFRESH_SECONDS = 10.0
_SOONEST_SECONDS = 1.0
TIMEOUT_SECONDS = 3.0  # the sampling loop waits for it, and it is on this node


class KubeletPods:
    """`--kubelet-url`: GET /pods with the right nodes/pods, each ten seconds and when a new pod is seen.

    `now` is a seam for tests: seconds of a steady clock.
    """

    def __init__(self, kubelet: Endpoint, counts: Counts, now: Callable[[], float] = time.monotonic) -> None:
        self._kubelet, self._counts, self._now = kubelet, counts, now
        self._known = KnownPods()
        self._asked = now() - _REFRESH_SECONDS
        self._unknown: frozenset[str] = frozenset()
        self._failing = False

    def expect(self, uids: Collection[str]) -> None:
        """Ask at once for pods that are new here; for one that the kubelet does not tell, only once."""
        unknown = frozenset(uids).difference(self._known.snapshot())
        fresh = unknown - self._unknown
        self._unknown = self._unknown & unknown
        if fresh and self._now() - self._asked >= _SOONEST_SECONDS:
            self._unknown |= fresh
            self._ask()

    def pods(self) -> Mapping[str, PodInfo]:
        """The kubelet's list; while it does not answer, the last one."""
        if self._now() - self._asked >= _REFRESH_SECONDS:
            self._ask()
        return self._known.snapshot()

    def close(self) -> None:
        """Nothing runs in the background."""

    def _ask(self) -> None:
        self._asked = self._now()
        try:
            _, pods = parse_items(self._kubelet.get("/pods"), parse_pod)
            self._known.replace(pods, self._asked)
            self._failing = False
        except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
            self._counts.pod_errors += 1
            if not self._failing:  # once, until it works again
                _log.warning("the kubelet's pods cannot be read, the last list stands: %s", error)
            self._failing = True
