"""Writes statuses of targets, if a person would see a change, and posts Events on changes of state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Literal

from carbonbudget_operator.controller.budget_writer import printable_status
from carbonbudget_operator.controller.event_posting import ObjectEvent, post_event
from carbonbudget_operator.controller.status_json import Status
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_status_json import is_visible_change_of_target
from carbonbudget_operator.controller.target_store import StoredTarget, TargetStore
from carbonbudget_operator.kube.client import MERGE_PATCH, KubeClient, KubeError
from carbonbudget_operator.logs import FailureLog
from carbonbudget_operator.targets.target_verdict import TargetState

_WRITES_AT_ONCE: Final = 16
_REASONS: Final[Mapping[TargetState, tuple[Literal["Normal", "Warning"], str]]] = {
    TargetState.ACHIEVED: ("Normal", "TargetAchieved"),
    TargetState.ON_TRACK: ("Normal", "TargetOnTrack"),
    TargetState.BEHIND: ("Warning", "TargetBehind"),
    TargetState.VIOLATED: ("Warning", "TargetViolated"),
    TargetState.NO_DATA: ("Warning", "TargetNoData"),
}
BASELINE_FROZEN: Final = "BaselineFrozen"

_log = logging.getLogger(__name__)


class TargetWriter:
    """At most 16 requests at once, whatever the number of targets."""

    def __init__(self, client: KubeClient, store: TargetStore, metrics: TargetMetrics) -> None:
        self._client, self._store, self._metrics = client, store, metrics
        self._at_once = asyncio.Semaphore(_WRITES_AT_ONCE)
        self._failing = FailureLog()
        # Written versions of targets that are stored without spec: their present status is not known.
        self._written: dict[str, tuple[str, object]] = {}

    async def write(self, stored: StoredTarget, status: Status) -> bool:
        """Write the status if it differs visibly. Returns whether the object now has it.

        The write names the uid, so a target that was created again under this name is not written to.
        """
        status = printable_status(status)
        if not is_visible_change_of_target(stored.body, status):
            return True
        if stored.missing_spec_reason and self._written.get(stored.key) == stored.version:
            return True
        try:
            async with self._at_once:
                patch = {"metadata": {"uid": stored.uid}, "status": status}
                await self._client.send("PATCH", stored.path.sub("status"), patch, content_type=MERGE_PATCH)
        except KubeError as error:
            if error.status == 404:  # its end was missed
                self._store.forget(stored.key, stored.uid)
            else:
                self._metrics.failures.inc()
                if self._failing.begins(stored.key):  # once, until it is written
                    _log.warning("target %s not updated, the next minute tries again: %s", stored.key, error.reason)
            return False
        self._metrics.patches.inc()
        self._written.pop(stored.key, None)
        if stored.missing_spec_reason:
            self._written[stored.key] = stored.version
        if self._failing.ends(stored.key):
            _log.info("target %s updated again", stored.key)
        return True

    async def post(self, stored: StoredTarget, state: TargetState, message: str, now: int) -> None:
        """Post the Event of a state. A failure is logged once, until an Event is posted again."""
        kind, reason = _REASONS[state]
        await self._event(stored, kind, reason, message, now)

    async def post_baseline(self, stored: StoredTarget, message: str, now: int) -> None:
        """Post that a baseline was computed."""
        await self._event(stored, "Normal", BASELINE_FROZEN, message, now)

    async def _event(
        self, stored: StoredTarget, kind: Literal["Normal", "Warning"], reason: str, message: str, now: int
    ) -> None:
        async with self._at_once:
            event = ObjectEvent(stored.involved, kind, reason, message)
            await post_event(self._client, event, f"target {stored.key}", now, self._failing)


def needs_target_event(previous: TargetState | None, state: TargetState) -> bool:
    """Whether to post an Event: the state changed, or the first verdict is one that somebody should look at."""
    if previous in (None, TargetState.NO_DATA):
        return state not in (TargetState.ON_TRACK, TargetState.NO_DATA)
    return previous is not state
