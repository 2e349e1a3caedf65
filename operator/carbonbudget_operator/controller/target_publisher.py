"""Publishes evaluations of targets: as metrics, as statuses and as Events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from carbonbudget_operator.controller.target_evaluation import TargetEvaluation
from carbonbudget_operator.controller.target_memory import TargetMemory
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_store import StoredTarget, TargetStore
from carbonbudget_operator.controller.target_writer import TargetWriter, needs_target_event
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import log_action
from carbonbudget_operator.targets.target_verdict import TargetState

_AT_ONCE: Final = 200

_log = logging.getLogger(__name__)


class TargetPublisher:
    """Posts an Event when the state changes, which `TargetMemory` has, or a baseline is computed."""

    def __init__(self, client: KubeClient, store: TargetStore, metrics: TargetMetrics) -> None:
        self._metrics, self._writer = metrics, TargetWriter(client, store, metrics)

    async def publish_all(
        self,
        stored: Mapping[str, StoredTarget],
        made: Mapping[str, TargetEvaluation],
        remembered: Mapping[str, TargetMemory],
        now: int,
    ) -> None:
        """Publish these evaluations, all by key. One that fails stops no other and is tried again."""
        waiting = list(made)
        for first in range(0, len(waiting), _AT_ONCE):
            keys = waiting[first : first + _AT_ONCE]
            results = await asyncio.gather(
                *(self._publish(stored[key], made[key], remembered[key], now) for key in keys), return_exceptions=True
            )
            for key, result in zip(keys, results, strict=True):
                if isinstance(result, BaseException):
                    self._metrics.failures.inc()
                    _log.error("target %s not updated", key, exc_info=result)
                    remembered[key].not_written()

    async def _publish(self, stored: StoredTarget, made: TargetEvaluation, remembered: TargetMemory, now: int) -> None:
        """Set the metrics, write the status, and post Events if the state has changed or a baseline was computed."""
        if "evaluatedGeneration" in made.status:
            self._metrics.evaluated(stored, made)
        else:
            self._metrics.not_evaluated(stored, made.state)
        if not await self._writer.write(stored, made.status):
            remembered.not_written()
            return
        if made.newly_frozen and made.frozen is not None:
            sentence = (
                f"the baseline is {made.frozen.per_unit} CO2e {made.per_unit}; it stays until selector, include, "
                "accounting, unit or baseline of the spec are edited"
            )
            await self._writer.post_baseline_event(stored, sentence, now)
        previous = remembered.state or _state_in(stored)
        if needs_target_event(previous, made.state):
            was = previous.value if previous is not None else "new"
            sentence = f"target {stored.key} is {made.state.value}, was {was}: {made.message}"
            log_action(_log, "target", sentence, target=stored.key, state=made.state.value, former=was)
            await self._writer.post_state_event(stored, made.state, made.message, now)
        remembered.state = made.state


def _state_in(stored: StoredTarget) -> TargetState | None:
    """The state that its status shows; None before the first."""
    status = stored.body.get("status")
    word = status.get("state") if isinstance(status, dict) else None
    return next((state for state in TargetState if state.value == word), None)
