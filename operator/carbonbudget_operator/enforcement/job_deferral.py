"""One round of deferral: decides about the Jobs that wait for their start, and carries out what was decided."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from carbonbudget_operator.enforcement.deferral_actions import (
    ChooseStart,
    DeclineDeferral,
    DeferralAction,
    DeferralTerms,
    HoldStart,
    LeaveJob,
    SpreadStart,
    StartJob,
)
from carbonbudget_operator.enforcement.deferral_decisions import decide_deferrals, starts_first
from carbonbudget_operator.enforcement.deferral_patches import patch_of_deferral
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.forecast_source import ForecastSource
from carbonbudget_operator.enforcement.job_actions import JobActions
from carbonbudget_operator.enforcement.job_store import JobStore
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.logs import log_action
from carbonbudget_operator.settings import EnforcementSettings

_log = logging.getLogger(__name__)
_MOST_ACTIONS: Final = 500  # in one round, which ends before others are decided about
ACTION_NAMES: Final[Mapping[type[DeferralAction], str]] = {
    ChooseStart: "choose", SpreadStart: "spread", HoldStart: "hold", StartJob: "start", DeclineDeferral: "decline",
    LeaveJob: "leave",
}  # fmt: skip


class JobDeferral:
    """`step` is called in each window, when such a Job changed, and when something is due."""

    def __init__(
        self,
        forecasts: ForecastSource,
        actions: JobActions,
        store: JobStore,
        metrics: EnforcementMetrics,
        settings: EnforcementSettings,
        exempt: frozenset[str],
        now: Callable[[], float],
    ) -> None:
        self.forecasts = forecasts
        self._actions, self._store, self._metrics, self._now = actions, store, metrics, now
        self._settings, self._exempt = settings, exempt
        self._declined: dict[str, str] = {}
        self._reviewed: set[str] = set()
        self._reviewed_with = 0
        self.wake_at = 0

    async def step(
        self, budgets: Sequence[EnforcedBudget], namespaces: Mapping[str, Mapping[str, str]], here_since: int
    ) -> None:
        """Decide about all Jobs, and carry out the actions."""
        now, forecast = int(self._now()), self.forecasts.newest
        if forecast is not None and forecast.made_at != self._reviewed_with:
            self._reviewed, self._reviewed_with = set(), forecast.made_at
        terms = DeferralTerms(
            now=now,
            enabled=self._settings.deferral,
            enforced=self._settings.mode == "Enforce",
            jitter_s=self._settings.resume_jitter_seconds,
            here_since=here_since,
            exempt=self._exempt,
            forecast=forecast,
        )
        decision = decide_deferrals(self._store.jobs.values(), budgets, namespaces, terms, self._reviewed)
        self.wake_at = decision.wake_at
        self._reviewed |= decision.reviewed
        self._metrics.report_waiting(decision.waiting)
        self.forecasts.want(decision.waiting)
        declined = {a.job.uid: a.sentence for a in decision.actions if isinstance(a, DeclineDeferral)}
        said, self._declined = self._declined, {uid: s for uid, s in self._declined.items() if declined.get(uid) == s}
        due = starts_first(
            action
            for action in decision.actions
            if not isinstance(action, DeclineDeferral) or said.get(action.job.uid) != action.sentence
        )
        if len(due) > _MOST_ACTIONS:
            self.wake_at = now + 1
        await asyncio.gather(*(self._act(action, now) for action in due[:_MOST_ACTIONS]))

    async def _act(self, action: DeferralAction, now: int) -> None:
        patch, event = patch_of_deferral(action, now)
        if patch is not None and not await self._actions.patch_job(action.job, patch):
            return
        what, job = ACTION_NAMES[type(action)], action.job
        if event is not None and not await self._actions.post_event(job, event, now) and patch is None:
            return  # said in a later round
        if isinstance(action, DeclineDeferral):
            self._declined[job.uid] = action.sentence
        self._metrics.deferrals.labels(what).inc()
        log_action(
            _log, f"deferral-{what}", f"deferral of Job {job.namespace}/{job.name}: {what}",
            kind="Job", namespace=job.namespace, name=job.name,
        )  # fmt: skip
