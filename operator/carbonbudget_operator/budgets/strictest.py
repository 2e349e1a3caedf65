"""The order of several budgets that cover one pod. The strictest budget decides, and messages name it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carbonbudget_operator.budgets.verdict import Action, State

_SEVERITY = {State.EXCEEDED: 3, State.WARNING: 2, State.UNKNOWN: 1, State.WITHIN: 0}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One budget that covers a pod. `key` is namespace/name, or /name for a cluster-wide one."""

    key: str
    action: Action
    state: State
    percent: int
    message: str = ""


def strictness(candidate: Candidate) -> tuple[int, int, int, str]:
    """The sort key that puts the strictest first: by action, state, percent and key.

    The order of the candidates does not matter, so all replicas name the same budget.
    """
    return -candidate.action, -_SEVERITY[candidate.state], -candidate.percent, candidate.key


def strictest(candidates: Iterable[Candidate]) -> Candidate | None:
    """The strictest candidate; None if there is none."""
    return min(candidates, key=strictness, default=None)
