"""Limits how many labels, and values of one label, the ledger distinguishes, so that labels cannot fill it.

Counted by namespace and day. Beyond the bound new values of a label become one, `__other__`, and labels of a new name
are left out: their pods' energy still counts, under that value or without that label; the first ones are unchanged.
What was made one or left out is counted. A label that a budget selects by is stored in any case: otherwise a tenant
would fill its own namespace's bound, and leave its budget behind. The labels of runs and models are never left out
either, and other labels do not use up the room for their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from carbonbudget_operator.ledger.selected_labels import SelectedLabels
from carbonbudget_operator.run_labels import RUN_LABELS
from carbonbudget_operator.special_label_values import OTHER_VALUES

_MAX_VALUES_IN_ALL = 1_000_000  # some 100 MB of them
_MAX_NAMES = 1_000  # of a namespace; a namespace of many charts has some fifty
_MAX_NAMES_IN_ALL = 100_000  # some 20 MB of them
_RUN_LABELS: Final = frozenset(RUN_LABELS)


class LabelBound:
    """What one process has seen of the latest day, as hashes: texts are long and come from anybody."""

    def __init__(self, max_values: int) -> None:
        self.selected = SelectedLabels()
        self._max_values = max_values
        self._day = 0
        self._seen: dict[int, int | set[int]] = {}  # by namespace and name; most labels have one value
        self._names: dict[int, int] = {}  # how many, by namespace
        self._counts = [0, 0]  # values of all other labels, and of those of runs
        self.collapsed = 0

    def bound(self, namespace: str, labels: Mapping[str, str], day: int) -> Mapping[str, str]:
        """The labels as they are stored; the same object if nothing is beyond the limit."""
        if day > self._day:
            self._day, self._counts = day, [0, 0]
            self._seen.clear()
            self._names.clear()
        changed: dict[str, str] = {}
        left_out: set[str] = set()
        for name, text in labels.items():
            label, value = hash((namespace, name)), hash(text)
            values = self._seen.get(label)
            if values is None:
                if name in _RUN_LABELS or self._has_room(hash(namespace)):
                    self._seen[label] = value
                    self._counts[name in _RUN_LABELS] += 1
                else:
                    left_out.add(name)
            elif not self._take(label, values, value, name in _RUN_LABELS):
                changed[name] = OTHER_VALUES
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
                changed[name] = OTHER_VALUES

    def _has_room(self, namespace: int) -> bool:
        names = self._names.get(namespace, 0)
        if names >= _MAX_NAMES or len(self._seen) >= _MAX_NAMES_IN_ALL:
            return False
        self._names[namespace] = names + 1
        return True

    def _take(self, label: int, values: int | set[int], value: int, of_runs: bool) -> bool:
        if not isinstance(values, set):
            if value == values:
                return True
            values = {values}
        elif value in values:
            return True
        if len(values) >= self._max_values or self._counts[of_runs] >= _MAX_VALUES_IN_ALL:
            return False
        values.add(value)
        self._seen[label] = values
        self._counts[of_runs] += 1
        return True
