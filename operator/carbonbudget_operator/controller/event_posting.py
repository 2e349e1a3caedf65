"""Posts the controller's Kubernetes Events about budgets, targets and transfers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from carbonbudget_operator.api.kubernetes_event import InvolvedObject, event_body
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.logs import FailureLog

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """An Event about an object. Its reasons are part of the API."""

    about: InvolvedObject
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


async def post_event(client: KubeClient, event: ObjectEvent, shown_as: str, now: int, failing: FailureLog) -> None:
    """Post the Event at `now` (UTC seconds). `shown_as` is the object in the log.

    A failure is logged once, until an Event is posted again, and has no other effect.
    """
    body = event_body(event.about, "controller", event.type, event.reason, event.message, now)
    try:
        await client.send("POST", event.about.events_path, body)
    except KubeError as error:
        if failing.begins("events"):
            _log.warning("event %s of %s not posted: %s", event.reason, shown_as, error.reason)
    else:
        failing.ends("events")
