"""Pods from the node's own kubelet, where its certificate verifies: the API server is asked nothing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from http.client import HTTPException

from carbonbudget_agent.counts import Counts
from carbonbudget_agent.http import Endpoint
from carbonbudget_agent.pods.info import PodInfo, parse_pod
from carbonbudget_agent.pods.known import KnownPods

_log = logging.getLogger(__name__)
_REFRESH_SECONDS = 10.0


class KubeletPods:
    """`--kubelet-url`: GET /pods with the right nodes/pods, at most every ten seconds."""

    def __init__(self, kubelet: Endpoint, counts: Counts) -> None:
        self._kubelet, self._counts = kubelet, counts
        self._known = KnownPods()
        self._next = 0.0
        self._failing = False

    def pods(self) -> Mapping[str, PodInfo]:
        """The kubelet's list; while it does not answer, the last one."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REFRESH_SECONDS
            try:
                items = json.loads(self._kubelet.get("/pods"))["items"]
                self._known.replace([parse_pod(item) for item in items or []], now)
                self._failing = False
            except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
                self._counts.pod_errors += 1
                if not self._failing:  # once, until it works again
                    _log.warning("the kubelet's pods cannot be read, the last list stands: %s", error)
                self._failing = True
        return self._known.snapshot()

    def close(self) -> None:
        """Nothing runs in the background."""
