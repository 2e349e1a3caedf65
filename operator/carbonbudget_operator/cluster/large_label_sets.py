"""Stores the labels of pods that have more than 64, the limit of a node report.

A report has the first 64 labels by name. Without this store, a tenant could add 64 labels that sort before the one that
a budget selects by: the admission policy would see that label, and the budget's use would not count the pod.

All labels of such pods are stored while memory allows, because a later budget may select by any of them. Namespaces
share the memory. A namespace above its share stores only the labels that budgets select by. Above a second limit, it
stores only those of budgets that cover several namespaces: its tenants cannot add to these, so they are never dropped.
Dropped labels are read again when memory allows or when budgets select by other labels
(docs/design/2026-11-29-many-labels.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from itertools import islice
from typing import Final

from carbonbudget_core.node_report import MAX_LABELS
from carbonbudget_operator.cluster.fair_memory import FairMemory

_log = logging.getLogger(__name__)
# Memory for all labels of such pods, in bytes: about 1,600 pods with 65 labels. One namespace gets at most an eighth.
MAX_BYTES: Final = 2**24
# Four times as much for labels that budgets select by: about 14,000 pods of a namespace with one such label each.
_SELECTED_TIMES: Final = 4
_EACH: Final = 8
_MAX_CHECKED: Final = 500  # pods of a namespace, each minute
_MAX_LOGGED: Final = 1_000
# Memory that CPython 3.11 takes beside the characters: for a label (two strings and a dict entry), and for a pod.
_BYTES_OF_LABEL: Final = 150
_BYTES_OF_POD: Final = 400
# Which labels of a pod are stored: all, those that budgets select by, those of budgets over several namespaces.
_ALL, _SELECTED, _SEVERAL = range(3)
Selected = Callable[[str], Set[str]]


@dataclass(slots=True)
class StoredLabelSet:
    """The stored labels of one pod. `gone`: the pod was deleted."""

    namespace: str
    labels: Mapping[str, str]
    gone: bool
    level: int = _ALL
    above: int = 0  # bytes that the next higher level would need
    by: Set[str] = frozenset()  # the labels that budgets selected by when labels were dropped


class LargeLabelSets:
    """The stored labels by pod. One task writes, the ledger writer's thread calls `of`.

    `selected` returns the labels that budgets select a namespace's pods by; `of_several` only those of budgets that
    cover several namespaces. `on_cut` is called for each running pod of which labels are dropped.
    """

    def __init__(
        self, selected: Selected, of_several: Selected = lambda namespace: frozenset(),
        max_bytes: int = MAX_BYTES, on_cut: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._selected, self._of_several = selected, of_several
        more = max_bytes * _SELECTED_TIMES
        # The last one is for deleted pods: above it, nothing is stored of them.
        self._memories = tuple(FairMemory(most, most // _EACH) for most in (max_bytes, more, more))
        self._stored: dict[bytes, StoredLabelSet] = {}
        self._cut: dict[str, dict[bytes, None]] = {}  # running pods with dropped labels, by namespace
        self._logged: set[str] = set()
        self._on_cut = on_cut

    @property
    def used(self) -> int:
        """Bytes in use, without the labels that are never dropped."""
        return sum(memory.used for memory in self._memories)

    def store(self, key: bytes, namespace: str, labels: object, gone: bool = False) -> None:
        """Store the labels of a pod as the API server has them, if there are more than 64."""
        self.drop(key)
        if not isinstance(labels, dict) or len(labels) <= MAX_LABELS:
            return
        stored = self._stored[key] = StoredLabelSet(namespace, labels, gone)
        if gone:
            self._lower(key, stored)
        else:
            self._put(key, stored)

    def end(self, key: bytes) -> None:
        """A pod was deleted. Its reports may arrive for days, but new budgets do not count it."""
        stored = self._stored.get(key)
        if stored is not None and not stored.gone:
            self._take(key, stored)
            stored.gone = True
            if stored.level == _ALL:
                self._lower(key, stored)
            else:
                self._put(key, stored)

    def drop(self, key: bytes) -> None:
        """Remove a pod."""
        stored = self._stored.pop(key, None)
        if stored is not None:
            self._take(key, stored)

    def of(self, key: bytes, namespace: str, reported: Mapping[str, str]) -> Mapping[str, str]:
        """The labels of a pod: all that budgets select by, then reported ones up to 64 in all.

        Selected labels have no limit: else one budget with 64 keys would hide the pod from all others.
        """
        stored = self._stored.get(key)
        if stored is None:
            return reported
        known = stored.labels
        first = {name: known[name] for name in sorted(self._selected(namespace)) if name in known}
        rest = ((name, text) for name, text in reported.items() if name not in first)
        return first | dict(islice(rest, max(0, MAX_LABELS - len(first))))

    def find(self, key: bytes) -> StoredLabelSet | None:
        """The stored labels of a pod. Each event of the pod replaces the object."""
        return self._stored.get(key)

    def cut_of(self, namespace: str) -> dict[bytes, StoredLabelSet]:
        """The running pods of a namespace with dropped labels."""
        return {key: self._stored[key] for key in self._cut.get(namespace, ())}

    def due(self, most: int) -> list[bytes]:
        """At most `most` pods whose labels should be read again, an equal part of each namespace."""
        each = max(1, most // max(1, len(self._cut)))
        due: list[bytes] = []
        for namespace in list(self._cut)[:most]:
            keys = self._cut[namespace] = self._cut.pop(namespace)  # moved to the end, so that namespaces take turns
            found = 0
            for key in list(islice(keys, _MAX_CHECKED)):
                keys[key] = keys.pop(key)
                if self.is_due(self._stored[key]):
                    due.append(key)
                    found += 1
                if found >= each:
                    break
        return due

    def is_due(self, stored: StoredLabelSet) -> bool:
        """Whether more of its labels fit now, or budgets select by other labels than when labels were dropped."""
        if stored.level == _ALL or stored.gone:
            return False
        if self._memories[stored.level - 1].fits(stored.namespace, stored.above):
            return True
        selected = self._selected(stored.namespace)
        return selected is not stored.by and not selected <= stored.by

    def _put(self, key: bytes, stored: StoredLabelSet) -> None:
        """Add it to the memory of its level, and lower the entries that no longer fit."""
        if stored.level != _ALL and not stored.gone:
            self._cut.setdefault(stored.namespace, {})[key] = None
        if stored.level == _SEVERAL and not stored.gone:
            return
        memory = self._memories[stored.level]
        memory.put(stored.namespace, key, _size(stored.labels), stored.gone)
        while (other := memory.key_to_remove(stored.namespace)) is not None:
            its = self._stored[other]
            self._take(other, its)
            if its.level == _SEVERAL:
                del self._stored[other]
            else:
                self._lower(other, its)

    def _take(self, key: bytes, stored: StoredLabelSet) -> None:
        """Remove it from the memory of its level."""
        self._memories[stored.level].take(stored.namespace, key)
        cut = self._cut.get(stored.namespace)
        if cut is not None:
            cut.pop(key, None)
            if not cut:
                del self._cut[stored.namespace]

    def _lower(self, key: bytes, stored: StoredLabelSet) -> None:
        """Drop labels of a pod that is in no memory now, and add it to the next lower level."""
        if not stored.gone:
            self._count(stored)
        stored.above = _size(stored.labels)
        stored.by = self._selected(stored.namespace)
        names = stored.by if stored.level == _ALL else self._of_several(stored.namespace)
        stored.labels = {name: text for name, text in stored.labels.items() if name in names}
        stored.level += 1
        self._put(key, stored)

    def _count(self, stored: StoredLabelSet) -> None:
        self._on_cut()
        if stored.namespace not in self._logged and len(self._logged) < _MAX_LOGGED:
            self._logged.add(stored.namespace)
            _log.warning(
                "pods of namespace %s with more than %d labels exceed its share of memory: "
                "labels that no budget selects by are dropped from some of them", stored.namespace, MAX_LABELS,
            )  # fmt: skip


def _size(labels: Mapping[str, str]) -> int:
    """Bytes of memory that the labels of a pod take."""
    return (
        _BYTES_OF_POD + _BYTES_OF_LABEL * len(labels) + sum(len(name) + len(str(text)) for name, text in labels.items())
    )
