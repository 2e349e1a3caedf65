"""The pods a source knows, and for some minutes those that are gone: their last energy still has a name."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from carbonbudget_agent.pods.info import PodInfo

_REMEMBER_SECONDS = 300.0


class KnownPods:
    """A map that two threads share: the source writes, the sampling loop reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: dict[str, PodInfo] = {}
        self._gone: dict[str, tuple[PodInfo, float]] = {}

    def put(self, pod: PodInfo) -> None:
        """Add or change one pod."""
        with self._lock:
            self._live[pod.cgroup_uid] = pod

    def remove(self, cgroup_uid: str, now: float) -> None:
        """One pod is gone."""
        with self._lock:
            self._drop(cgroup_uid, now)

    def replace(self, pods: Iterable[PodInfo], now: float) -> None:
        """A complete list: whoever is not in it is gone."""
        fresh = {pod.cgroup_uid: pod for pod in pods}
        with self._lock:
            for uid in [uid for uid in self._live if uid not in fresh]:
                self._drop(uid, now)
            self._live.update(fresh)

    def snapshot(self) -> Mapping[str, PodInfo]:
        """Live pods and those gone a short while ago."""
        with self._lock:
            return {uid: pod for uid, (pod, _) in self._gone.items()} | self._live

    def _drop(self, uid: str, now: float) -> None:
        pod = self._live.pop(uid, None)
        if pod is not None:
            self._gone[uid] = (pod, now)
        self._gone = {uid: entry for uid, entry in self._gone.items() if now - entry[1] < _REMEMBER_SECONDS}
