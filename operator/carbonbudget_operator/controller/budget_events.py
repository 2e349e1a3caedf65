"""The Events about a budget's state: when one is posted, and with which reason. Reasons are part of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from carbonbudget_operator.budgets.verdict import State
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.controller.event_posting import ObjectEvent, post_event
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import FailureLog

_REASONS: Final[Mapping[State, tuple[Literal["Normal", "Warning"], str]]] = {
    State.WITHIN: ("Normal", "BudgetWithinLimit"),
    State.WARNING: ("Warning", "BudgetWarning"),
    State.EXCEEDED: ("Warning", "BudgetExceeded"),
    State.UNKNOWN: ("Warning", "BudgetUnknown"),
}


def needs_event(previous: State | None, state: State) -> bool:
    """Whether to post an Event: the state changed, or the first verdict is a warning or worse."""
    if previous in (None, State.UNKNOWN):
        return state in (State.WARNING, State.EXCEEDED)
    return previous is not state


async def post_budget_event(
    client: KubeClient, stored: StoredBudget, state: State, message: str, now: int, failing: FailureLog
) -> None:
    """Post the Event of a state."""
    kind, reason = _REASONS[state]
    await post_event(client, ObjectEvent(stored.involved, kind, reason, message), stored.key, now, failing)
