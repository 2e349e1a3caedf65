"""An index of the pods that the API server has, or had in the last 8 days, with their nodes.

Ingest verifies node reports with it, so that a node cannot charge pods that do not run on it. The index is filled by
one watch of all pods as a table: metadata and the column Node. A pod never changes its node, so one string is stored
for each. Deleted pods stay as long as their reports may arrive. Above the size limit, the pods that were deleted first
are removed, and reports from before that time can no longer be verified.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Set
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from carbonbudget_core.jsons import at, objects, text
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cluster.label_refetch import key_of, refetch_labels
from carbonbudget_operator.cluster.large_label_sets import MAX_BYTES, LargeLabelSets, Selected
from carbonbudget_operator.kube.client import JsonObject, KubeClient

PODS: Final = ApiPath("", "v1", "pods")
_STORED_SECONDS: Final = 8 * 86_400  # agents store unsent windows for 7 days
_MAX_PODS: Final = 500_000  # some 130 MB; 150,000 run on 5,000 nodes
_PRUNE_EVERY: Final = 1_000
# A force-deleted pod runs for a while without an object, and an agent reports it for five more minutes.
_AFTERLIFE_SECONDS: Final = 600
_MIRROR: Final = "kubernetes.io/config.mirror"
_NO_NODE: Final = ("", "<none>")
# Values of the column Status of a pod that no kubelet has accepted yet.
_NOT_ACCEPTED: Final = (None, "", "Pending", "Terminating")


class PodIndex:
    """All pods by uid. One task writes, the ledger writer's thread reads. `now` returns UTC seconds."""

    def __init__(
        self, client: KubeClient, registry: CollectorRegistry, now: Callable[[], float] = time.time,
        selected: Selected = lambda namespace: frozenset(), max_pods: int = _MAX_PODS,
        selected_of_several: Selected = lambda namespace: frozenset(), max_label_bytes: int = MAX_BYTES,
    ) -> None:  # fmt: skip
        """`selected` returns the labels that budgets select a namespace's pods by; `selected_of_several` only those
        of budgets that cover several namespaces.
        """
        self._client, self._now, self._max_pods = client, now, max_pods
        self._placed: dict[bytes, str] = {}
        self._gone: dict[bytes, int] = {}  # UTC second of deletion, oldest first
        self._listed: set[bytes] | None = None
        self._complete = False
        self._from = 0  # UTC second from which on all pods are known
        known = Gauge("carbonbudget_ingest_pods_known", "Pods that reports are compared with.", registry=registry)
        known.set_function(lambda: len(self._placed))
        cut = Counter(
            "carbonbudget_ingest_pod_labels_cut",
            "Pods with more than 64 labels of which some are not stored: their namespace exceeds its share.",
            registry=registry,
        )
        self._labels = LargeLabelSets(selected, selected_of_several, max_label_bytes, cut.inc)

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            async for event, item in self._client.watch(PODS, as_table=True):
                self.apply(event, item)
        finally:
            self._complete = False  # until the next list: changes in between are not known

    def apply(self, event: str, item: JsonObject | None) -> None:
        """Apply one event of the watch."""
        if event == "LISTING":
            self._listed, self._complete = set(), False
        elif event == "LISTED":
            self._end_list()
        elif item is not None:
            self._change(event == "DELETED", item)

    def place(self, uid: str) -> str | None:
        """ "node/namespace/name" of a pod; None if it is not in the index."""
        key = key_of(uid)
        return None if key is None else self._placed.get(key)

    def labels(self, uid: str, namespace: str, reported: Mapping[str, str]) -> Mapping[str, str]:
        """The labels of a pod that was reported with 64, the limit of a report. Includes all that budgets select by."""
        key = key_of(uid)
        return reported if key is None else self._labels.of(key, namespace, reported)

    async def read_labels_again(self) -> None:
        """Run one round of reading dropped labels again (`label_refetch.py`). Raises KubeError."""
        await refetch_labels(self._client, PODS, self._labels, self._name)

    def count_on(self, nodes: Set[str]) -> dict[str, int]:
        """The number of pods of each namespace on these nodes, finished ones included while their objects exist."""
        here = (place for key, place in self._placed.items() if key not in self._gone)
        places = {place for place in here if place.partition("/")[0] in nodes}  # a static pod has two uids
        return Counts(place.split("/", 2)[1] for place in places)

    async def namespaces(self) -> frozenset[str] | None:
        """The namespaces of all pods in the index; None before the first list.

        Collected in a thread, because there may be 500,000 pods.
        """
        if not self._complete:
            return None
        places = list(self._placed.values())
        return await asyncio.to_thread(lambda: frozenset(place.split("/", 2)[1] for place in places))

    def knows_all(self, since: int) -> bool:
        """Whether the index has all pods that ran at `since` (UTC second) or later and started before `current_at`."""
        return self._complete and since >= self._from + _AFTERLIFE_SECONDS

    @property
    def current_at(self) -> float:
        """UTC second up to which the watch is known to be complete."""
        return self._client.watches.current_at().get(str(PODS), 0.0)

    def _end_list(self) -> None:
        listed, self._listed = self._listed or set(), None
        now = int(self._now())
        for key in self._placed.keys() - listed - self._gone.keys():
            self._gone[key] = now
            self._labels.end(key)
        self._complete, self._from = True, now  # pods that were created and deleted unseen were before now
        self._prune(now)

    def _name(self, key: bytes) -> str:
        """The name of a pod in the index."""
        return self._placed.get(key, "").rpartition("/")[2]

    def _change(self, deleted: bool, item: JsonObject) -> None:
        metadata, cells = item.get("metadata"), item.get("cells")
        if not isinstance(metadata, dict) or not isinstance(cells, dict):
            return
        node = cells.get("Node")
        key = key_of(str(metadata.get("uid")))
        if key is None or not isinstance(node, str) or node in _NO_NODE:
            return  # it is not scheduled yet
        self._labels.store(key, str(metadata.get("namespace")), metadata.get("labels"), deleted)
        place = f"{node}/{metadata.get('namespace')}/{metadata.get('name')}"
        # A tenant can write the annotation and owner of a mirror pod, but not the status of a pod.
        mirrored = None if cells.get("Status") in _NOT_ACCEPTED else _mirror_key(metadata, node)
        for its in (key, mirrored):
            if its is None or (its is not key and self._placed.get(its, place) != place):
                continue
            self._placed[its] = place
            if self._listed is not None:
                self._listed.add(its)
            if deleted:
                self._gone.setdefault(its, int(self._now()))
            else:
                self._gone.pop(its, None)
        if deleted and len(self._gone) % _PRUNE_EVERY == 0:
            self._prune(int(self._now()))

    def _prune(self, now: int) -> None:
        while self._gone:
            key, since = next(iter(self._gone.items()))
            if since > now - _STORED_SECONDS and len(self._placed) <= self._max_pods:
                return
            del self._gone[key]
            self._placed.pop(key, None)
            self._labels.drop(key)
            self._from = max(self._from, since)


def _mirror_key(metadata: JsonObject, node: str) -> bytes | None:
    """The uid that the kubelet itself gives a static pod. An agent that reads the kubelet reports this uid."""
    mirrored = text(at(metadata, "annotations").get(_MIRROR))
    expected = {"apiVersion": "v1", "kind": "Node", "name": node, "controller": True}
    of_node = any(expected.items() <= owner.items() for owner in objects(metadata.get("ownerReferences")))
    return key_of(mirrored) if of_node else None
