"""Writes statuses of targets, if a person would see a change, and posts Events on changes of state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from carbonbudget_operator.controller.event_posting import ObjectEvent, post_event
from carbonbudget_operator.controller.status_json import Status
from carbonbudget_operator.controller.status_writer import StatusWriter
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_status_json import is_visible_change_of_target
from carbonbudget_operator.controller.target_store import StoredTarget, TargetStore
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import FailureLog
from carbonbudget_operator.targets.target_verdict import TargetState

_REASONS: Final[Mapping[TargetState, tuple[Literal["Normal", "Warning"], str]]] = {
    TargetState.ACHIEVED: ("Normal", "TargetAchieved"),
    TargetState.ON_TRACK: ("Normal", "TargetOnTrack"),
    TargetState.BEHIND: ("Warning", "TargetBehind"),
    TargetState.VIOLATED: ("Warning", "TargetViolated"),
    TargetState.NO_DATA: ("Warning", "TargetNoData"),
}
BASELINE_FROZEN: Final = "BaselineFrozen"


class TargetWriter:
    """At most 16 requests at once, whatever the number of targets."""

    def __init__(self, client: KubeClient, store: TargetStore, metrics: TargetMetrics) -> None:
        again = "the next minute tries again"
        self._client, self._failing = client, FailureLog()
        self._statuses = StatusWriter(client, metrics, store.forget, is_visible_change_of_target, "target ", again)

    async def write(self, stored: StoredTarget, status: Status) -> bool:
        """Write the status if it differs visibly. Returns whether the object now has it."""
        return await self._statuses.write(stored, status)

    async def post_state_event(self, stored: StoredTarget, state: TargetState, message: str, now: int) -> None:
        """Post the Event of a state. A failure is logged once, until an Event is posted again."""
        kind, reason = _REASONS[state]
        await self._event(stored, kind, reason, message, now)

    async def post_baseline_event(self, stored: StoredTarget, message: str, now: int) -> None:
        """Post that a baseline was computed."""
        await self._event(stored, "Normal", BASELINE_FROZEN, message, now)

    async def _event(
        self, stored: StoredTarget, kind: Literal["Normal", "Warning"], reason: str, message: str, now: int
    ) -> None:
        async with self._statuses.slots:
            event = ObjectEvent(stored.involved, kind, reason, message)
            await post_event(self._client, event, f"target {stored.key}", now, self._failing)


def needs_target_event(previous: TargetState | None, state: TargetState) -> bool:
    """Whether to post an Event: the state changed, or the first verdict is one that somebody should look at."""
    if previous in (None, TargetState.NO_DATA):
        return state not in (TargetState.ON_TRACK, TargetState.NO_DATA)
    return previous is not state
