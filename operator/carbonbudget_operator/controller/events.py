"""Kubernetes Events about budgets, with reasons that stay the same."""

from __future__ import annotations

import datetime as dt
import logging
import uuid

from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.api.names import BUDGET, GROUP, VERSION
from carbonbudget_operator.budgets.evaluate import State, Verdict
from carbonbudget_operator.kube.client import KubeClient, KubeError

_log = logging.getLogger(__name__)
_REASONS = {
    State.WITHIN: ("Normal", "BudgetWithinLimit"),
    State.WARNING: ("Warning", "BudgetWarning"),
    State.EXCEEDED: ("Warning", "BudgetExceeded"),
}


def worth_telling(former: Verdict | None, verdict: Verdict) -> bool:
    """A change of state, or a first verdict that is not plainly within the limit."""
    if former is None or former.state is State.UNKNOWN:
        return verdict.state is not State.WITHIN
    return former.state is not verdict.state


async def tell(client: KubeClient, resource: CarbonBudget, verdict: Verdict, message: str) -> None:
    """Post the Event; one that cannot be posted is logged, as it changes nothing."""
    kind, reason = _REASONS[verdict.state]
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta = resource.metadata
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": meta.namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": BUDGET.kind,
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
        },
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
        await client.request("POST", f"/api/v1/namespaces/{meta.namespace}/events", body=body)
    except KubeError as error:
        _log.warning("event %s of %s/%s not posted: %s", reason, meta.namespace, meta.name, error.reason)
