"""Bounds how many labels, and values of one, are told apart: what differs for each pod must not fill the ledger.

Counted by namespace and day. Beyond the bound new values of a label become one, `__other__`, and labels of a new name
are left out: their pods' energy still counts, under that value or without that label; what came first keeps its name.
What was made one or left out is counted. What a budget selects by is kept in any case: else a tenant would fill its own
namespace's bound, and leave its budget behind.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Set
from typing import Final

OTHER: Final = "__other__"
_MAX_VALUES_IN_ALL = 1_000_000  # some 100 MB of them
_MAX_NAMES = 1_000  # of a namespace; a namespace of many charts has some fifty
_MAX_NAMES_IN_ALL = 100_000  # some 20 MB of them
_MAX_SELECTED = 256  # keys of a namespace's budgets, and values of a key
EVERY_NAMESPACE: Final = "*"


class SelectedLabels:
    """The labels that budgets select by, and with which values, as the controller asks for them each minute.

    By namespace, because whoever may edit budgets in one must not crowd out another's; and for the same reason those of
    budgets over several namespaces apart. The latest 256 keys of each are kept. Several threads learn and another
    reads, so that what is read is replaced whole and never changed.
    """

    def __init__(self) -> None:
        self._own: dict[str, Mapping[str, frozenset[str]]] = {}
        self._wide: dict[str, Mapping[str, frozenset[str]]] = {}
        self._learning = threading.Lock()

    def learn(self, namespaces: Iterable[str], key: str, values: Iterable[str] = ()) -> None:
        """A budget of these namespaces selects by `key`, with these values if they are named."""
        named, among = frozenset(values), list(namespaces)
        table = self._own if len(among) == 1 and among[0] != EVERY_NAMESPACE else self._wide
        with self._learning:
            for namespace in among:
                keys = dict(table.get(namespace, {}))
                known = keys.pop(key, frozenset())
                if len(keys) >= _MAX_SELECTED:
                    del keys[next(iter(keys))]
                keys[key] = known if len(known) >= _MAX_SELECTED else known | named
                table[namespace] = keys

    def keys(self, namespace: str) -> Set[str]:
        """All keys that select pods of the namespace."""
        return {key for keys in self._of(namespace) for key in keys}

    def names(self, namespace: str, key: str, value: str) -> bool:
        """Whether a budget of the namespace names the label with this value."""
        return any(value in keys.get(key, ()) for keys in self._of(namespace))

    def _of(self, namespace: str) -> Iterable[Mapping[str, frozenset[str]]]:
        yield self._own.get(namespace, {})
        yield self._wide.get(namespace, {})
        yield self._wide.get(EVERY_NAMESPACE, {})


class LabelBound:
    """What one process has seen of the latest day, as hashes: texts are long and come from anybody."""

    def __init__(self, max_values: int) -> None:
        self.selected = SelectedLabels()
        self._max_values = max_values
        self._day = 0
        self._seen: dict[int, int | set[int]] = {}  # by namespace and name; most labels have one value
        self._names: dict[int, int] = {}  # how many, by namespace
        self._count = 0
        self.collapsed = 0

    def bound(self, namespace: str, labels: Mapping[str, str], day: int) -> Mapping[str, str]:
        """The labels as they are kept; the same object if nothing is beyond the bound."""
        if day > self._day:
            self._day, self._count = day, 0
            self._seen.clear()
            self._names.clear()
        changed: dict[str, str] = {}
        left_out: set[str] = set()
        for name, text in labels.items():
            label, value = hash((namespace, name)), hash(text)
            values = self._seen.get(label)
            if values is None:
                if self._has_room(hash(namespace)):
                    self._seen[label] = value
                    self._count += 1
                else:
                    left_out.add(name)
            elif not self._take(label, values, value):
                changed[name] = OTHER
        if changed or left_out:
            self._keep_selected(namespace, labels, changed, left_out)
        self.collapsed += len(changed) + len(left_out)
        if not changed and not left_out:
            return labels
        return {name: changed.get(name, text) for name, text in labels.items() if name not in left_out}

    def _keep_selected(
        self, namespace: str, labels: Mapping[str, str], changed: dict[str, str], left_out: set[str]
    ) -> None:
        for name in self.selected.keys(namespace) & (changed.keys() | left_out):
            left_out.discard(name)
            if self.selected.names(namespace, name, labels[name]):
                changed.pop(name, None)
            else:
                changed[name] = OTHER

    def _has_room(self, namespace: int) -> bool:
        names = self._names.get(namespace, 0)
        if names >= _MAX_NAMES or len(self._seen) >= _MAX_NAMES_IN_ALL:
            return False
        self._names[namespace] = names + 1
        return True

    def _take(self, label: int, values: int | set[int], value: int) -> bool:
        if not isinstance(values, set):
            if value == values:
                return True
            values = {values}
        elif value in values:
            return True
        if len(values) >= self._max_values or self._count >= _MAX_VALUES_IN_ALL:
            return False
        values.add(value)
        self._seen[label] = values
        self._count += 1
        return True
