"""Kubernetes Events about budgets, with reasons that stay the same."""

from __future__ import annotations

import datetime as dt
import logging
import uuid

from carbonbudget_operator.api.names import GROUP, VERSION
from carbonbudget_operator.budgets.evaluate import State
from carbonbudget_operator.controller.inventory import Held
from carbonbudget_operator.kube.client import KubeClient, KubeError

_log = logging.getLogger(__name__)
_REASONS = {
    State.WITHIN: ("Normal", "BudgetWithinLimit"),
    State.WARNING: ("Warning", "BudgetWarning"),
    State.EXCEEDED: ("Warning", "BudgetExceeded"),
    State.UNKNOWN: ("Warning", "BudgetUnknown"),
}
_OF_CLUSTER_OBJECTS = "default"  # where Kubernetes puts Events of what has no namespace


def worth_telling(former: State | None, state: State) -> bool:
    """A change of state, or a first verdict that is not plainly within the limit."""
    if former in (None, State.UNKNOWN):
        return state in (State.WARNING, State.EXCEEDED)
    return former is not state


async def tell(client: KubeClient, held: Held, state: State, message: str) -> None:
    """Post the Event; one that cannot be posted is logged, as it changes nothing."""
    kind, reason = _REASONS[state]
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    namespace = held.namespace or _OF_CLUSTER_OBJECTS
    involved = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": held.resource.kind,
        "name": held.name,
        "uid": held.uid,
    }
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{held.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
        "involvedObject": involved | ({"namespace": held.namespace} if held.namespace else {}),
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": "carbonbudget-controller"},
        "reportingComponent": f"{GROUP}/controller",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await client.request("POST", f"/api/v1/namespaces/{namespace}/events", body=body)
    except KubeError as error:
        _log.warning("event %s of %s not posted: %s", reason, held.key, error.reason)
