"""Reads labels of pods again that were cut: for a few pods one by one, for more of a namespace by a list of it.

Whoever fills a namespace with labels, or changes its budgets, must not have the API server read without end: a round
takes so many pods, of each namespace an equal part, and a few lists, by turns, of metadata alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cluster.large_label_sets import LargeLabelSets, StoredLabelSet
from carbonbudget_operator.kube.client import JsonObject, KubeClient

_MOST: Final = 200
_LIST_ABOVE: Final = 20  # pods of one namespace of which less is kept
_LISTS: Final = 5


async def refetch_labels(
    client: KubeClient, pods: ApiPath, labels: LargeLabelSets, name_of: Callable[[bytes], str]
) -> None:
    """One round; `name_of` gives a pod's name. Raises KubeError: what was not read is read in a later round."""
    due: defaultdict[str, dict[bytes, StoredLabelSet]] = defaultdict(dict)
    for key in labels.due(_MOST):
        kept = labels.find(key)
        if kept is not None:
            due[kept.namespace][key] = kept
    lists = _LISTS
    for namespace, its in due.items():
        cut = labels.cut_of(namespace) if lists else {}
        if len(cut) > _LIST_ABOVE:
            lists -= 1
            async for item in client.list(pods.at(namespace), metadata_only=True):
                _take(labels, item, cut)
            continue
        for key in its:
            # Asked for by a list of one: the server has no other right to read pods.
            only = {"fieldSelector": f"metadata.name={name_of(key)}"}
            async for item in client.list(pods.at(namespace), only, metadata_only=True):
                _take(labels, item, its)


def _take(labels: LargeLabelSets, item: JsonObject, wanted: dict[bytes, StoredLabelSet]) -> None:
    """One pod's labels, unless an event came since, which may be newer."""
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        return
    key = key_of(str(metadata.get("uid")))
    kept = None if key is None else wanted.get(key)
    if key is not None and kept is not None and labels.find(key) is kept and labels.is_due(kept):
        labels.keep(key, kept.namespace, metadata.get("labels"))


def key_of(uid: str) -> bytes | None:
    """A uid's 16 bytes, a third of its text; None for what is no uid of the API server's."""
    try:
        key = bytes.fromhex(uid.replace("-", ""))
    except ValueError:
        return None
    return key if len(key) == 16 else None
