"""Who works against a suspension: told by the enforcement room, shown as a condition of the budget."""

from __future__ import annotations

from collections.abc import Iterable


class Conflicts:
    """By budget key: namespace/name, or /name for a cluster-wide budget. One event loop, so no lock."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}

    def report(self, budget_key: str, sentence: str) -> None:
        """Somebody reverts what the budget asks for; the sentence names who, and says what to do."""
        self._sentences[budget_key] = sentence

    def clear(self, budget_key: str) -> None:
        """Nobody does any more."""
        self._sentences.pop(budget_key, None)

    def of(self, budget_key: str) -> str:
        """The sentence; empty where there is no conflict."""
        return self._sentences.get(budget_key, "")

    def forget_all_but(self, budget_keys: Iterable[str]) -> None:
        """Drop what was told of budgets that are gone."""
        kept = set(budget_keys)
        self._sentences = {key: sentence for key, sentence in self._sentences.items() if key in kept}
