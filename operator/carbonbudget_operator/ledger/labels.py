"""Bounds how many values of a label are told apart: one that differs for each pod must not fill the ledger.

Counted by namespace, label and day. Beyond the bound new values become one, `__other__`: their pods' energy still
counts, under that value; values that came first keep their names. What was made one is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OTHER: Final = "__other__"
_MAX_VALUES_IN_ALL = 1_000_000  # some 100 MB of them


class LabelBound:
    """What one process has seen of the latest day."""

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values
        self._day = 0
        self._seen: dict[tuple[str, str], set[int]] = {}
        self._count = 0
        self.collapsed = 0

    def bound(self, namespace: str, labels: Mapping[str, str], day: int) -> Mapping[str, str]:
        """The labels as they are kept; the same object if nothing is beyond the bound."""
        if day > self._day:
            self._day, self._count = day, 0
            self._seen.clear()
        changed: dict[str, str] = {}
        for name, value in labels.items():
            values = self._seen.setdefault((namespace, name), set())
            key = hash(value)
            if key in values:
                continue
            if len(values) < self._max_values and self._count < _MAX_VALUES_IN_ALL:
                values.add(key)
                self._count += 1
            else:
                changed[name] = OTHER
        self.collapsed += len(changed)
        return {**labels, **changed} if changed else labels
