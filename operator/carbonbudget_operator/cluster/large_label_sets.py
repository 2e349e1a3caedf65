"""Labels of pods that have more than a report holds, so that none of them hides what a budget selects by.

An agent keeps the first 64 labels by name. Whoever labels a pod could put 64 before the one that a budget selects by:
the admission policy would see that one, and the budget would not.

All labels of such pods are kept where there is room, because budgets may select by others later. Room is shared by
namespaces: one beyond its share keeps, of its own pods, the labels that budgets select by now; beyond a second bound
those of budgets over several namespaces alone, which the namespace's people cannot add to and which always have room.
What was cut is read again when there is room, or when budgets select by something else
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
# All labels of all such pods, in bytes of memory: some 1,600 pods of 65 labels. A namespace has an eighth at most.
MAX_BYTES: Final = 2**24
# Of those that budgets select by, four times as much: some 14,000 pods of a namespace with one such label each.
_SELECTED_TIMES: Final = 4
_EACH: Final = 8
_MAX_LOOKED_AT: Final = 500  # of a namespace, each minute
_MAX_TOLD: Final = 1_000
# What CPython 3.11 takes beside the characters: two texts and their place in a mapping; and for a pod.
_BYTES_OF_LABEL: Final = 150
_BYTES_OF_POD: Final = 400
# How much of a pod's labels is kept.
_ALL, _SELECTED, _SEVERAL = range(3)
Selected = Callable[[str], Set[str]]


@dataclass(slots=True)
class StoredLabelSet:
    """What is kept of one pod's labels."""

    namespace: str
    labels: Mapping[str, str]
    gone: bool
    level: int = _ALL
    above: int = 0  # bytes that would be kept one level up
    by: Set[str] = frozenset()  # what budgets selected by when it was cut


class LargeLabelSets:
    """By pod. One task writes, the ledger writer's thread calls `of`.

    `selected` gives the labels that budgets select a namespace's pods by, `of_several` those of budgets over several
    namespaces alone; `on_cut` is called for each pod that runs and of which less is kept than before.
    """

    def __init__(
        self, selected: Selected, of_several: Selected = lambda namespace: frozenset(),
        max_bytes: int = MAX_BYTES, on_cut: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._selected, self._of_several = selected, of_several
        more = max_bytes * _SELECTED_TIMES
        # The last one is for pods that are gone: beyond it nothing is kept of them.
        self._rooms = tuple(FairMemory(most, most // _EACH) for most in (max_bytes, more, more))
        self._kept: dict[bytes, StoredLabelSet] = {}
        self._cut: dict[str, dict[bytes, None]] = {}  # those that run, by namespace
        self._told: set[str] = set()
        self._on_cut = on_cut

    @property
    def used(self) -> int:
        """Bytes, but for those that are always kept."""
        return sum(room.used for room in self._rooms)

    def keep(self, key: bytes, namespace: str, labels: object, gone: bool = False) -> None:
        """What the API server has of a pod; only one with more than 64 is kept."""
        self.drop(key)
        if not isinstance(labels, dict) or len(labels) <= MAX_LABELS:
            return
        kept = self._kept[key] = StoredLabelSet(namespace, labels, gone)
        if gone:
            self._lower(key, kept)
        else:
            self._put(key, kept)

    def end(self, key: bytes) -> None:
        """A pod is gone. Reports of it may come for days, but budgets that are new then do not count it."""
        kept = self._kept.get(key)
        if kept is not None and not kept.gone:
            self._take(key, kept)
            kept.gone = True
            if kept.level == _ALL:
                self._lower(key, kept)
            else:
                self._put(key, kept)

    def drop(self, key: bytes) -> None:
        """A pod is forgotten."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._take(key, kept)

    def of(self, key: bytes, namespace: str, reported: Mapping[str, str]) -> Mapping[str, str]:
        """All labels that a budget selects by, and of the others as many as were reported, up to 64 in all.

        Those that are selected are never cut: one budget with 64 keys would hide the pod from all others.
        """
        kept = self._kept.get(key)
        if kept is None:
            return reported
        known = kept.labels
        first = {name: known[name] for name in sorted(self._selected(namespace)) if name in known}
        rest = ((name, text) for name, text in reported.items() if name not in first)
        return first | dict(islice(rest, max(0, MAX_LABELS - len(first))))

    def find(self, key: bytes) -> StoredLabelSet | None:
        """What is kept of a pod now: another object after its next event."""
        return self._kept.get(key)

    def cut_of(self, namespace: str) -> dict[bytes, StoredLabelSet]:
        """The pods of a namespace that run and of whose labels not all are kept."""
        return {key: self._kept[key] for key in self._cut.get(namespace, ())}

    def due(self, most: int) -> list[bytes]:
        """Pods whose labels should be read again, at most so many, of each namespace an equal part."""
        each = max(1, most // max(1, len(self._cut)))
        due: list[bytes] = []
        for namespace in list(self._cut)[:most]:
            keys = self._cut[namespace] = self._cut.pop(namespace)  # the next time it comes after the others
            found = 0
            for key in list(islice(keys, _MAX_LOOKED_AT)):
                keys[key] = keys.pop(key)
                if self.is_due(self._kept[key]):
                    due.append(key)
                    found += 1
                if found >= each:
                    break
        return due

    def is_due(self, kept: StoredLabelSet) -> bool:
        """Whether there is room for more of its labels, or budgets select by others than when it was cut."""
        if kept.level == _ALL or kept.gone:
            return False
        if self._rooms[kept.level - 1].fits(kept.namespace, kept.above):
            return True
        selected = self._selected(kept.namespace)
        return selected is not kept.by and not selected <= kept.by

    def _put(self, key: bytes, kept: StoredLabelSet) -> None:
        """Into its level's room, and out with what has none."""
        if kept.level != _ALL and not kept.gone:
            self._cut.setdefault(kept.namespace, {})[key] = None
        if kept.level == _SEVERAL and not kept.gone:
            return
        room = self._rooms[kept.level]
        room.put(kept.namespace, key, _size(kept.labels), kept.gone)
        while (other := room.beyond(kept.namespace)) is not None:
            its = self._kept[other]
            self._take(other, its)
            if its.level == _SEVERAL:
                del self._kept[other]
            else:
                self._lower(other, its)

    def _take(self, key: bytes, kept: StoredLabelSet) -> None:
        """Out of its level's room."""
        self._rooms[kept.level].take(kept.namespace, key)
        cut = self._cut.get(kept.namespace)
        if cut is not None:
            cut.pop(key, None)
            if not cut:
                del self._cut[kept.namespace]

    def _lower(self, key: bytes, kept: StoredLabelSet) -> None:
        """Keep fewer of its labels; it is in no room now."""
        if not kept.gone:
            self._count(kept)
        kept.above = _size(kept.labels)
        kept.by = self._selected(kept.namespace)
        names = kept.by if kept.level == _ALL else self._of_several(kept.namespace)
        kept.labels = {name: text for name, text in kept.labels.items() if name in names}
        kept.level += 1
        self._put(key, kept)

    def _count(self, kept: StoredLabelSet) -> None:
        self._on_cut()
        if kept.namespace not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(kept.namespace)
            _log.warning(
                "pods of namespace %s with more than %d labels have more than its share of memory: "
                "labels that no budget selects by are not kept of all of them", kept.namespace, MAX_LABELS,
            )  # fmt: skip


def _size(labels: Mapping[str, str]) -> int:
    """Bytes of memory."""
    return (
        _BYTES_OF_POD + _BYTES_OF_LABEL * len(labels) + sum(len(name) + len(str(text)) for name, text in labels.items())
    )
