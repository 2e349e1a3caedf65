"""Posts refusals and warnings as Events, because pipelines drop warnings. Posting runs in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

from carbonbudget_operator.admission.admission_decision import AdmissionDecision
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.api.kubernetes_event import InvolvedObject, event_body
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import JsonObject, KubeClient, KubeError
from carbonbudget_operator.logs import LogRateLimit, log_action

_log = logging.getLogger(__name__)
QUEUE = 500
# The same Event about the same object is posted once in this time: a controller repeats a refused request.
QUIET_SECONDS = 600.0
_REMEMBERED = 5_000
REFUSALS_LOGGED_PER_SECOND = 10
_MAX_NAME = 317  # characters of an API group and version, the longest of an object's names
# Between two posts, to limit the load of the API server. Events beyond the queue are dropped and counted.
_PAUSE_SECONDS = 0.1


class AdmissionEvents:
    """A bounded queue of Events. `record` never blocks; `post` is the task that empties the queue."""

    def __init__(self, metrics: AdmissionMetrics) -> None:
        self._metrics = metrics
        self._lines = LogRateLimit(REFUSALS_LOGGED_PER_SECOND)
        self._queue: asyncio.Queue[tuple[ApiPath, JsonObject]] = asyncio.Queue(QUEUE)
        self._recorded: OrderedDict[tuple[InvolvedObject, str], float] = OrderedDict()

    def record(self, decision: AdmissionDecision, now: float) -> None:
        """Queues one Event for a refusal, or for the strictest warning. `now` is any clock in seconds."""
        if decision.refusal:
            self._log_refusal(decision, now)
        message = decision.refusal or (decision.warnings[0] if decision.warnings else "")
        if not message:
            return
        about = decision.about
        # An owner's name is any text that its author wrote. A name that no object can have is not stored or posted.
        if max(map(len, (about.api_version, about.kind, about.name, about.uid))) > _MAX_NAME:
            self._metrics.events.labels("dropped").inc()
            return
        reason = "WorkRefused" if decision.refusal else "WorkWarned"
        key = (about, reason)
        if now - self._recorded.get(key, -QUIET_SECONDS) < QUIET_SECONDS:
            self._metrics.events.labels("repeated").inc()
            return
        try:
            body = event_body(about, "admission", "Warning", reason, message, int(time.time()))
            self._queue.put_nowait((about.events_path, body))
        except asyncio.QueueFull:
            self._metrics.events.labels("dropped").inc()
            return
        self._recorded[key] = now
        self._recorded.move_to_end(key)
        while len(self._recorded) > _REMEMBERED:
            self._recorded.popitem(last=False)

    def _log_refusal(self, decision: AdmissionDecision, now: float) -> None:
        """Logs one line, if the rate limit allows it: a caller may send thousands of requests a second."""
        suppressed = self._lines.admit(now)
        if suppressed is None:
            return
        about, more = decision.about, f" ({suppressed} refusals before it are not logged)" if suppressed else ""
        sentence = f"refused {about.kind} {about.namespace}/{about.name}: {decision.refusal}{more}"
        log_action(
            _log, "refuse", sentence, kind=about.kind, namespace=about.namespace, name=about.name, suppressed=suppressed
        )

    async def post(self, client: KubeClient) -> None:
        """Posts the queued Events, without end. A failed post is counted and not repeated."""
        failing = False
        while True:
            path, body = await self._queue.get()
            try:
                await client.request("POST", path, body=body)
                self._metrics.events.labels("posted").inc()
                failing = False
            except KubeError as error:
                self._metrics.events.labels("failed").inc()
                if not failing:  # one line until a post succeeds
                    _log.warning("an event is not posted to %s: %s", path, error.reason)
                failing = True
            await asyncio.sleep(_PAUSE_SECONDS)
