"""Labels of pods that have more than a report holds, so that none of them hides what a budget selects by.

An agent keeps the first 64 labels by name. Whoever labels a pod could put 64 before the one that a budget selects by:
the admission policy would see that one, and the budget would not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from itertools import islice
from typing import Final

from carbonbudget_agent.report import MAX_LABELS

# Of all such pods together; beyond it only what budgets select by right now is kept of a pod.
_MAX_CHARACTERS: Final = 2**23
Selected = Callable[[str], Set[str]]


class ManyLabels:
    """By pod. `selected` gives the labels that budgets select a namespace's pods by."""

    def __init__(self, selected: Selected, max_characters: int = _MAX_CHARACTERS) -> None:
        self._selected, self._max_characters = selected, max_characters
        self._labels: dict[bytes, Mapping[str, str]] = {}
        self._characters = 0

    def keep(self, key: bytes, namespace: str, labels: object) -> None:
        """What the API server says of a pod; only one with more than 64 is kept."""
        self.drop(key)
        if not isinstance(labels, dict) or len(labels) <= MAX_LABELS:
            return
        if self._characters + _characters(labels) > self._max_characters:
            selected = self._selected(namespace)
            labels = {name: text for name, text in labels.items() if name in selected}
        self._labels[key] = labels
        self._characters += _characters(labels)

    def drop(self, key: bytes) -> None:
        """A pod is forgotten."""
        former = self._labels.pop(key, None)
        if former is not None:
            self._characters -= _characters(former)

    def of(self, key: bytes, namespace: str, reported: Mapping[str, str]) -> Mapping[str, str]:
        """All labels that a budget selects by, and of the others as many as were reported, up to 64 in all.

        Those that are selected are never cut: one budget with 64 keys would hide the pod from all others.
        """
        known = self._labels.get(key)
        if known is None:
            return reported
        first = {name: known[name] for name in sorted(self._selected(namespace)) if name in known}
        rest = ((name, text) for name, text in reported.items() if name not in first)
        return first | dict(islice(rest, max(0, MAX_LABELS - len(first))))


def _characters(labels: Mapping[str, str]) -> int:
    return sum(len(name) + len(str(text)) for name, text in labels.items())
