"""Refusals and warnings as Events, since pipelines drop warnings. Posted in the background, never waited for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

from carbonbudget_operator.admission.admission_decision import AdmissionDecision
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.admission.work import ObjectReference
from carbonbudget_operator.api.event import InvolvedObject, event_body
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import JsonObject, KubeClient, KubeError
from carbonbudget_operator.logs import LogRateLimit, log_action

_log = logging.getLogger(__name__)
QUEUE = 500
# The same about the same object at most so often: a controller asks again and again for what is refused.
QUIET_SECONDS = 600.0
_REMEMBERED = 5_000
REFUSALS_LOGGED_PER_SECOND = 10
_MAX_NAME = 317  # a kind's API group and version are the longest
# Posts a second at most: what is beyond the queue is dropped and counted, the API server has other work.
_PAUSE_SECONDS = 0.1


class AdmissionEvents:
    """A bounded queue. `record` never blocks; `post` is the task that empties it."""

    def __init__(self, metrics: AdmissionMetrics) -> None:
        self._metrics = metrics
        self._lines = LogRateLimit(REFUSALS_LOGGED_PER_SECOND)
        self._queue: asyncio.Queue[tuple[ApiPath, JsonObject]] = asyncio.Queue(QUEUE)
        self._recorded: OrderedDict[tuple[str, ObjectReference, str], float] = OrderedDict()

    def record(self, namespace: str, decision: AdmissionDecision, now: float) -> None:
        """One Event for a refusal, or for the strictest warning. `now` is any clock in seconds."""
        if decision.refusal:
            self._log_refusal(namespace, decision, now)
        message = decision.refusal or (decision.warnings[0] if decision.warnings else "")
        if not message:
            return
        about = decision.about
        # An owner's name is whatever its author wrote: nothing is remembered or posted that no object can be called.
        if max(map(len, (about.api_version, about.kind, about.name, about.uid))) > _MAX_NAME:
            self._metrics.events.labels("dropped").inc()
            return
        reason = "WorkRefused" if decision.refusal else "WorkWarned"
        key = (namespace, about, reason)
        if now - self._recorded.get(key, -QUIET_SECONDS) < QUIET_SECONDS:
            self._metrics.events.labels("repeated").inc()
            return
        try:
            involved = InvolvedObject(about.api_version, about.kind, about.name, namespace, about.uid)
            body = event_body(involved, "admission", "Warning", reason, message, int(time.time()))
            self._queue.put_nowait((involved.events_path, body))
        except asyncio.QueueFull:
            self._metrics.events.labels("dropped").inc()
            return
        self._recorded[key] = now
        self._recorded.move_to_end(key)
        while len(self._recorded) > _REMEMBERED:
            self._recorded.popitem(last=False)

    def _log_refusal(self, namespace: str, decision: AdmissionDecision, now: float) -> None:
        """One line, but not for each of many: a caller may ask thousands of times a second."""
        suppressed = self._lines.admit(now)
        if suppressed is None:
            return
        about, more = decision.about, f" ({suppressed} refusals before it are not logged)" if suppressed else ""
        sentence = f"refused {about.kind} {namespace}/{about.name}: {decision.refusal}{more}"
        log_action(
            _log, "refuse", sentence, kind=about.kind, namespace=namespace, name=about.name, suppressed=suppressed
        )

    async def post(self, client: KubeClient) -> None:
        """For ever. One that cannot be posted is counted: it changes nothing."""
        failing = False
        while True:
            path, body = await self._queue.get()
            try:
                await client.request("POST", path, body=body)
                self._metrics.events.labels("posted").inc()
                failing = False
            except KubeError as error:
                self._metrics.events.labels("failed").inc()
                if not failing:  # once, until one is posted
                    _log.warning("an event is not posted to %s: %s", path, error.reason)
                failing = True
            await asyncio.sleep(_PAUSE_SECONDS)
