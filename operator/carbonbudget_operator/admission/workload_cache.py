"""The webhook's cache of the workloads whose scaling a budget may refuse, which watches fill."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from carbonbudget_core.jsons import at, texts
from carbonbudget_operator.admission.budget_cache import BudgetCache
from carbonbudget_operator.admission.watch_cache import WatchCache
from carbonbudget_operator.admission.workload_kinds import JOB, POD, WorkloadKind, WorkloadKinds
from carbonbudget_operator.api.wire_names import EXEMPT_LABEL
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.watch_restart import keep_following
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

# Bytes. Of a workload that takes more when parsed, only the metadata is read, and so no labels of its pods.
_MOST_PARSED = 8 * 2**20
_MOST_LABELS_BYTES = 8 * 2**10
_SETTLE_SECONDS = 0.5  # so that a budget that changes often does not start and stop watches each time
_LOOK_SECONDS = 15.0  # a block can end, and a namespace can get a label, without a change of a budget


@dataclass(frozen=True, slots=True)
class ScalableWorkload:
    """What a Scale does not contain of its workload. `labels`: of its pods; None if they are too many to be cached."""

    labels: Mapping[str, str] | None
    exempt: bool


_LEFT_OUT = ScalableWorkload(None, exempt=False)


class WorkloadCache:
    """Pod labels of the workloads whose scaling a blocking budget may refuse; empty while no budget blocks."""

    def __init__(self, kinds: WorkloadKinds) -> None:
        self.kinds = {
            workload_kind.kind: workload_kind
            for workload_kind in kinds.values()
            if workload_kind.replicas and workload_kind not in (JOB, POD)
        }
        self._watched: dict[tuple[WorkloadKind, str], tuple[WatchCache[ScalableWorkload], asyncio.Task[None]]] = {}

    def find(self, workload_kind: WorkloadKind, namespace: str, name: str) -> ScalableWorkload | None:
        """The workload; None if it is not cached."""
        caches = [
            self._watched[workload_kind, place][0]
            for place in (namespace, EVERY_NAMESPACE)
            if (workload_kind, place) in self._watched
        ]
        found = next((one.of(namespace)[name] for one in caches if name in one.of(namespace)), None)
        if found is None and any(namespace in one.crowded for one in caches):
            return _LEFT_OUT
        return found

    def crowded(self) -> int:
        """The number of namespaces of which some workloads are not cached, for each kind."""
        return sum(len(cache.crowded) for cache, _ in self._watched.values())

    def want(self, client: KubeClient, wanted: set[tuple[WorkloadKind, str]]) -> None:
        """Starts and stops watches, so that those of `wanted` run and no others."""
        for key in self._watched.keys() - wanted:
            self._watched.pop(key)[1].cancel()
        for workload_kind, namespace in wanted - self._watched.keys():
            cache = WatchCache[ScalableWorkload](
                workload_kind.kind, functools.partial(_scalable, workload_kind), _labels_bytes, _MOST_PARSED
            )
            path = workload_kind.collection(namespace)
            follow = keep_following(client, path, functools.partial(cache.follow, client, path))
            self._watched[workload_kind, namespace] = (cache, asyncio.create_task(follow, name=str(path)))

    async def follow(self, client: KubeClient, budgets: BudgetCache) -> None:
        """Watches the workloads whose scaling a blocking budget may refuse, without end."""
        changed = asyncio.Event()
        for cache in (budgets.own, budgets.wide):
            cache.changed = changed.set
        while True:
            if budgets.listed():
                self.want(client, budgets.scaled_kinds(self.kinds, int(time.time())))
            try:
                await asyncio.wait_for(changed.wait(), _LOOK_SECONDS)
            except TimeoutError:
                pass
            await asyncio.sleep(_SETTLE_SECONDS)
            changed.clear()

    def stop(self) -> None:
        """Stops all watches."""
        for _, task in self._watched.values():
            task.cancel()
        self._watched.clear()


def _scalable(workload_kind: WorkloadKind, body: Mapping[str, object]) -> ScalableWorkload:
    labels = texts(at(body, *workload_kind.template, "metadata").get("labels"))
    readable = "spec" in body and _length(labels) <= _MOST_LABELS_BYTES
    return ScalableWorkload(
        {sys.intern(key): sys.intern(value) for key, value in labels.items()} if readable else None,
        texts(at(body, "metadata").get("labels")).get(EXEMPT_LABEL) == "true",
    )


def _labels_bytes(found: ScalableWorkload) -> int:
    return _length(found.labels or {})


def _length(labels: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in labels.items())
