"""Conflicts with a suspension: enforcement reports them, and a condition of the budget shows them."""

from __future__ import annotations

from collections.abc import Iterable


class ConflictStore:
    """By budget key: namespace/name, or /name for a cluster-wide budget. One event loop, so no lock."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}
        self._managed: set[str] = set()

    def report(self, budget_key: str, sentence: str, managed: bool = False) -> None:
        """The sentence names who. `managed`: nobody reverts anything, but another controller decides when Jobs run."""
        self._sentences[budget_key] = sentence
        (self._managed.add if managed else self._managed.discard)(budget_key)

    def clear(self, budget_key: str) -> None:
        """Remove the conflict of a budget."""
        self._sentences.pop(budget_key, None)
        self._managed.discard(budget_key)

    def of(self, budget_key: str) -> str:
        """The sentence; empty where there is no conflict."""
        return self._sentences.get(budget_key, "")

    def managed(self, budget_key: str) -> bool:
        """Whether all that stands against it is that another controller decides when Jobs run."""
        return budget_key in self._managed

    def forget_all_but(self, budget_keys: Iterable[str]) -> None:
        """Drop the conflicts of budgets that were deleted."""
        kept = set(budget_keys)
        self._sentences = {key: sentence for key, sentence in self._sentences.items() if key in kept}
        self._managed &= kept
