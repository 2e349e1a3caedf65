"""Several budgets on one pod: the strictest decides, and is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carbonbudget_operator.budgets.evaluate import Action, State

_SEVERITY = {State.EXCEEDED: 3, State.WARNING: 2, State.UNKNOWN: 1, State.WITHIN: 0}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One budget that holds for a pod. `key` is namespace/name, or /name for a cluster-wide one."""

    key: str
    action: Action
    state: State
    percent: int
    message: str = ""


def by_strictness(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The strictest first: by what it does, how it stands, how much of it is used, then by its key.

    The order of the candidates does not matter, so that two replicas always name the same budget.
    """
    return sorted(candidates, key=lambda c: (-c.action, -_SEVERITY[c.state], -c.percent, c.key))


def strictest(candidates: Iterable[Candidate]) -> Candidate | None:
    """The one that decides; None where no budget holds."""
    return next(iter(by_strictness(candidates)), None)
