"""Which pods the API server has, or had a while ago, and on which node: what a report of pods is compared with.

One watch of all pods, as a table: metadata and the column that names the node. A pod's place never changes, so that
all that is kept of it is one text. Pods that are gone are kept for as long as a report of them may come; beyond a
bound the first to go are forgotten, and what ended before they did cannot be verified any more.
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
_KEPT_SECONDS: Final = 8 * 86_400  # agents keep their windows for 7 days
_MAX_PODS: Final = 500_000  # some 130 MB; 150,000 run on 5,000 nodes
_PRUNE_EVERY: Final = 1_000
# A pod that was deleted by force runs on for a while without an object, and an agent names it for five minutes more.
_AFTERLIFE_SECONDS: Final = 600
_MIRROR: Final = "kubernetes.io/config.mirror"
_NO_NODE: Final = ("", "<none>")
# What the Status column shows while no kubelet acknowledged a pod, and while one ends that none did.
_NOT_TAKEN: Final = (None, "", "Pending", "Terminating")


class PodIndex:
    """All pods by uid. One task writes, the ledger writer's thread reads. `now` gives UTC seconds."""

    def __init__(
        self, client: KubeClient, registry: CollectorRegistry, now: Callable[[], float] = time.time,
        selected: Selected = lambda namespace: frozenset(), max_pods: int = _MAX_PODS,
        selected_of_several: Selected = lambda namespace: frozenset(), max_label_bytes: int = MAX_BYTES,
    ) -> None:  # fmt: skip
        """`selected` gives the labels that budgets select a namespace's pods by, `selected_of_several` those of
        budgets over several namespaces alone.
        """
        self._client, self._now, self._max_pods = client, now, max_pods
        self._placed: dict[bytes, str] = {}
        self._gone: dict[bytes, int] = {}  # since when, the first to go first
        self._listed: set[bytes] | None = None
        self._complete = False
        self._from = 0  # all that was there from then on is known
        known = Gauge("carbonbudget_ingest_pods_known", "Pods that reports are compared with.", registry=registry)
        known.set_function(lambda: len(self._placed))
        cut = Counter(
            "carbonbudget_ingest_pod_labels_cut",
            "Pods with more than 64 labels of which not all are kept, because their namespace has more than its share.",
            registry=registry,
        )
        self._labels = LargeLabelSets(selected, selected_of_several, max_label_bytes, cut.inc)

    async def run(self) -> None:
        """Watch for ever."""
        try:
            async for event, item in self._client.watch(PODS, as_table=True):
                self.apply(event, item)
        finally:
            self._complete = False  # until the next list: what came meanwhile, or made it fail, is not known

    def apply(self, event: str, item: JsonObject | None) -> None:
        """One event of the watch."""
        if event == "LISTING":
            self._listed, self._complete = set(), False
        elif event == "LISTED":
            self._end_list()
        elif item is not None:
            self._change(event == "DELETED", item)

    def place(self, uid: str) -> str | None:
        """ "node/namespace/name" of a pod that is or was; None for one that is not known."""
        key = key_of(uid)
        return None if key is None else self._placed.get(key)

    def labels(self, uid: str, namespace: str, reported: Mapping[str, str]) -> Mapping[str, str]:
        """The labels of a pod that was reported with 64: those first that a budget selects by."""
        key = key_of(uid)
        return reported if key is None else self._labels.of(key, namespace, reported)

    async def read_labels_again(self) -> None:
        """Read labels that had no room, or by which no budget selected: one round of it. Raises KubeError."""
        await refetch_labels(self._client, PODS, self._labels, self._name)

    def count_on(self, nodes: Set[str]) -> dict[str, int]:
        """How many pods each namespace has on these nodes now, those that ended and are still objects included."""
        here = (place for key, place in self._placed.items() if key not in self._gone)
        places = {place for place in here if place.partition("/")[0] in nodes}  # a static pod has two uids
        return Counts(place.split("/", 2)[1] for place in places)

    async def namespaces(self) -> frozenset[str]:
        """The namespaces of all pods that are known. Found in a thread: there may be 500,000."""
        places = list(self._placed.values())
        return await asyncio.to_thread(lambda: frozenset(place.split("/", 2)[1] for place in places))

    def knows_all(self, since: int) -> bool:
        """Whether each pod that ran at `since` or later and began up to `current_at` is known."""
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
        self._complete, self._from = True, now  # what came and went unseen was before
        self._prune(now)

    def _name(self, key: bytes) -> str:
        """Of a pod that is known."""
        return self._placed.get(key, "").rpartition("/")[2]

    def _change(self, deleted: bool, item: JsonObject) -> None:
        metadata, cells = item.get("metadata"), item.get("cells")
        if not isinstance(metadata, dict) or not isinstance(cells, dict):
            return
        node = cells.get("Node")
        key = key_of(str(metadata.get("uid")))
        if key is None or not isinstance(node, str) or node in _NO_NODE:
            return  # it runs nowhere yet
        self._labels.keep(key, str(metadata.get("namespace")), metadata.get("labels"), deleted)
        place = f"{node}/{metadata.get('namespace')}/{metadata.get('name')}"
        # Whoever may create pods can write a mirror pod's annotation and owner, but no pod's status.
        mirrored = None if cells.get("Status") in _NOT_TAKEN else _mirror_key(metadata, node)
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
            if since > now - _KEPT_SECONDS and len(self._placed) <= self._max_pods:
                return
            del self._gone[key]
            self._placed.pop(key, None)
            self._labels.drop(key)
            self._from = max(self._from, since)


def _mirror_key(metadata: JsonObject, node: str) -> bytes | None:
    """The kubelet's own uid of a static pod, under which an agent that asks the kubelet names it."""
    mirrored = text(at(metadata, "annotations").get(_MIRROR))
    expected = {"apiVersion": "v1", "kind": "Node", "name": node, "controller": True}
    of_node = any(expected.items() <= owner.items() for owner in objects(metadata.get("ownerReferences")))
    return key_of(mirrored) if of_node else None
