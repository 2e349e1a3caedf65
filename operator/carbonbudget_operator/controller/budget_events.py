"""Posts Kubernetes Events about budgets. Their reasons are part of the API."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Literal

from carbonbudget_operator.api.kubernetes_event import InvolvedObject, event_body
from carbonbudget_operator.api.wire_names import GROUP, VERSION
from carbonbudget_operator.budgets.verdict import State
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.logs import FailureLog

_log = logging.getLogger(__name__)
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
    """Post the Event. A failure is logged once, until an Event is posted again, and has no other effect."""
    kind, reason = _REASONS[state]
    about = InvolvedObject(f"{GROUP}/{VERSION}", stored.resource.kind, stored.name, stored.namespace, stored.uid)
    try:
        await client.send("POST", about.events_path, event_body(about, "controller", kind, reason, message, now))
    except KubeError as error:
        if failing.begins("events"):
            _log.warning("event %s of %s not posted: %s", reason, stored.key, error.reason)
    else:
        failing.ends("events")
