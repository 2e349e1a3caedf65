"""Posts a Kubernetes Event on a budget whose limit a target's savings raise."""

from __future__ import annotations

import logging
from typing import Final

from carbonbudget_operator.api.kubernetes_event import InvolvedObject, event_body
from carbonbudget_operator.api.wire_names import GROUP, VERSION
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.logs import FailureLog

CREDIT_APPLIED: Final = "CreditApplied"
_log = logging.getLogger(__name__)


async def post_credit_event(
    client: KubeClient, stored: StoredBudget, sentence: str, now: int, failing: FailureLog
) -> None:
    """Post the Event. A failure is logged once, until an Event is posted again, and has no other effect."""
    about = InvolvedObject(f"{GROUP}/{VERSION}", stored.resource.kind, stored.name, stored.namespace, stored.uid)
    body = event_body(about, "controller", "Normal", CREDIT_APPLIED, sentence, now)
    try:
        await client.send("POST", about.events_path, body)
    except KubeError as error:
        if failing.begins("events"):
            _log.warning("event %s of %s not posted: %s", CREDIT_APPLIED, stored.key, error.reason)
    else:
        failing.ends("events")
