"""The pod cache: the pods of the node, and for some minutes those that ended, so that their last energy has a name.

Its memory is bounded. Pods that run on the node are stored as a whole; the node's own limit bounds their number. A
tenant can bind any number of pods to a node that rejects them: the first of those are stored as a whole, many without
labels, and the rest is left out and counted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from carbonbudget_agent.pods.pod_info import PodInfo
from carbonbudget_agent.work_counters import WorkCounters

_log = logging.getLogger(__name__)
_REMEMBER_SECONDS = 300.0
_MAX_WAITING_WHOLE = 100
_MAX_WAITING = 2_000


class PodCache:
    """A map that two threads share: the source writes, the sampling loop reads. Times are seconds of a steady clock."""

    def __init__(self, counts: WorkCounters) -> None:
        self._counts = counts
        self._lock = threading.Lock()
        self._live: dict[str, PodInfo] = {}
        self._gone: dict[str, tuple[PodInfo, float]] = {}
        self._seen: dict[str, float] = {}
        self._merged: Mapping[str, PodInfo] | None = None
        self._disputed: frozenset[str] = frozenset()
        self._left_out = False

    def seen(self, cgroup_uids: Collection[str], now: float) -> None:
        """These cgroups exist: their pods are not forgotten meanwhile, even if the pods are deleted."""
        with self._lock:
            self._seen.update(dict.fromkeys(cgroup_uids, now))
            self._seen = {uid: at for uid, at in self._seen.items() if now - at < _REMEMBER_SECONDS}
            self._forget(now)

    def put(self, pod: PodInfo) -> None:
        """Add or change one pod."""
        with self._lock:
            waiting = sum(not self._runs(other) for uid, other in self._live.items() if uid != pod.uid)
            stored = self._stored_form(pod, waiting)
            if stored is not None:
                self._live[pod.uid] = stored
                self._merged = None

    def remove(self, uid: str, now: float) -> None:
        """The pod of this uid is gone."""
        with self._lock:
            self._drop(uid, now)

    def replace(self, pods: Iterable[PodInfo], now: float) -> None:
        """Store a complete list: a pod that is not in it is gone. Nothing changes if `pods` raises."""
        fresh: dict[str, PodInfo] = {}
        waiting = left_out = 0
        for pod in pods:
            stored = self._stored_form(pod, waiting)
            if stored is None:
                left_out += 1
                continue
            waiting += not self._runs(pod)
            fresh[pod.uid] = stored
        with self._lock:
            for uid in [uid for uid in self._live if uid not in fresh]:
                self._drop(uid, now)
            self._live = fresh
            self._left_out = left_out > 0
            self._merged = None

    def snapshot(self) -> Mapping[str, PodInfo]:
        """Live pods and those gone a short while ago, by the uid of their cgroup and by their own."""
        with self._lock:
            if self._merged is None:
                self._merged = self._merge()
            return self._merged

    def _merge(self) -> Mapping[str, PodInfo]:
        """A cgroup that is named after a pod's uid is that pod's. One that is named after a config hash belongs to
        the one mirror pod that has it, and to no pod if two have it."""
        own = {uid: pod for uid, (pod, _) in self._gone.items()} | self._live
        found: dict[str, PodInfo] = {}
        disputed: set[str] = set()
        for pods in ((pod for pod, _ in self._gone.values()), self._live.values()):
            claims: dict[str, PodInfo] = {}
            for pod in pods:
                if pod.cgroup_uid == pod.uid:
                    continue
                if pod.cgroup_uid in own or pod.cgroup_uid in claims:
                    disputed.add(pod.cgroup_uid)
                claims[pod.cgroup_uid] = pod
            found |= claims
        for uid in disputed - self._disputed:
            self._counts.pods_disputed += 1
            _log.error(
                "the static pod's cgroup %s is claimed by more than one pod; it stays with the pod of that uid, or its "
                "energy is unseen: look for pods with that annotation kubernetes.io/config.mirror",
                uid,
            )
        self._disputed = frozenset(disputed)
        return {uid: pod for uid, pod in found.items() if uid not in disputed} | own

    def _runs(self, pod: PodInfo) -> bool:
        """Whether the node's kubelet has accepted it."""
        return (pod.acknowledged and not pod.finished) or pod.uid in self._seen or pod.cgroup_uid in self._seen

    def _stored_form(self, pod: PodInfo, waiting: int) -> PodInfo | None:
        """The pod as it is stored while `waiting` others wait: as a whole, without labels, or not at all (None)."""
        if waiting < _MAX_WAITING_WHOLE or self._runs(pod):
            return pod
        if waiting < _MAX_WAITING:
            return replace(pod, labels={}, controller=None)
        self._counts.pods_left_out += 1
        if not self._left_out:  # once, until a list fits again
            _log.error("more than %d pods wait on this node or have ended: the others have no name here", _MAX_WAITING)
        self._left_out = True
        return None

    def _drop(self, uid: str, now: float) -> None:
        pod = self._live.pop(uid, None)
        if pod is not None:
            self._merged = None
            if self._runs(pod):
                self._gone[uid] = (replace(pod, gone=True), now)
        self._forget(now)

    def _forget(self, now: float) -> None:
        remembered = {
            uid: (pod, at)
            for uid, (pod, at) in self._gone.items()
            if now - max(at, self._seen.get(uid, at), self._seen.get(pod.cgroup_uid, at)) < _REMEMBER_SECONDS
        }
        if len(remembered) < len(self._gone):
            self._gone, self._merged = remembered, None
