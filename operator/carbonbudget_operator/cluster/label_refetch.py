"""Reads the labels of pods again whose stored labels are incomplete (`large_label_sets.py`).

A few pods of a namespace are read one by one, more of them by a list of the namespace. A round is limited to 200 pods,
an equal part of each namespace, and 5 lists of metadata. So a tenant who creates many labels cannot overload the API
server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cluster.large_label_sets import LargeLabelSets, StoredLabelSet
from carbonbudget_operator.kube.client import JsonObject, KubeClient

_MOST: Final = 200
_LIST_ABOVE: Final = 20  # pods of one namespace with incomplete labels
_LISTS: Final = 5


async def refetch_labels(
    client: KubeClient, pods: ApiPath, labels: LargeLabelSets, name_of: Callable[[bytes], str]
) -> None:
    """Run one round. `name_of` returns a pod's name. Raises KubeError; the remaining pods are read in a later round."""
    due: defaultdict[str, dict[bytes, StoredLabelSet]] = defaultdict(dict)
    for key in labels.due(_MOST):
        stored = labels.find(key)
        if stored is not None:
            due[stored.namespace][key] = stored
    lists = _LISTS
    for namespace, its in due.items():
        cut = labels.cut_of(namespace) if lists else {}
        if len(cut) > _LIST_ABOVE:
            lists -= 1
            async for item in client.list(pods.at(namespace), metadata_only=True):
                _take(labels, item, cut)
            continue
        for key in its:
            # A list of one pod, because the server may list pods and not get them.
            only = {"fieldSelector": f"metadata.name={name_of(key)}"}
            async for item in client.list(pods.at(namespace), only, metadata_only=True):
                _take(labels, item, its)


def _take(labels: LargeLabelSets, item: JsonObject, wanted: dict[bytes, StoredLabelSet]) -> None:
    """Store the labels of one pod, unless a watch event changed them since: it may be newer."""
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        return
    key = key_of(str(metadata.get("uid")))
    stored = None if key is None else wanted.get(key)
    if key is not None and stored is not None and labels.find(key) is stored and labels.is_due(stored):
        labels.store(key, stored.namespace, metadata.get("labels"))


def key_of(uid: str) -> bytes | None:
    """The 16 bytes of a uid, a third of the size of its text; None if the API server cannot have created it."""
    try:
        key = bytes.fromhex(uid.replace("-", ""))
    except ValueError:
        return None
    return key if len(key) == 16 else None
