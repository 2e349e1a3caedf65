"""Tells finished Jobs their final figures, and running workloads how their budget stands.

Level-based where it can be: a Job's own annotation says that it is done. Of other workloads nothing is read (there may
be very many, and the right to read them is not ours): what was written last is remembered while a status names them,
and after a restart written once more, a few in each window.

At most 200 workloads are written in a window of a minute, 3.3 a second: first those whose budget or state changed, then
those whose figure did, the oldest first, and last those whose last write failed. So figures are as the statuses have
them, at most ten minutes late for up to 2,000 workloads whose figures move, 25 minutes for 5,000. Each says up to when
it counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.api.resource_names import (
    ACCOUNTING_ANNOTATION,
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
    EMISSIONS_ANNOTATION,
    STATE_ANNOTATION,
)
from carbonbudget_operator.enforcement.enforced_budgets import BudgetsByNamespace, EnforcedBudget, is_judged_namespace
from carbonbudget_operator.enforcement.job import Job, instant
from carbonbudget_operator.enforcement.job_actions import JobActions
from carbonbudget_operator.enforcement.job_emissions import (
    Key,
    budget_state,
    final_figures,
    is_beyond_reporting,
    jobs_to_annotate,
    run_query,
    workload_annotations,
    workload_path,
)
from carbonbudget_operator.enforcement.job_store import JobStore
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.enforcement.patches import EventText, Patch
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_log = logging.getLogger(__name__)
_WRITES: Final = 200  # in a window: a thousand budgets that change state must not storm the API server
_QUIET_S: Final = 600

_NOTHING: Final[dict[str, str | None]] = {
    EMISSIONS_ANNOTATION: None,
    ACCOUNTING_ANNOTATION: None,
    AS_OF_ANNOTATION: None,
    BUDGET_ANNOTATION: None,
    STATE_ANNOTATION: None,
}
_NO_STANDING: Final = budget_state(_NOTHING)
Labels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Written:
    """What a workload was told last, and when (UTC seconds, 0 for not known)."""

    standing: tuple[str | None, str | None] = _NO_STANDING
    emissions: str | None = None
    at: int = 0


class Annotator:
    """`step` is for each window. `pod_days` is how long the server keeps what single pods used.

    `exempt` are namespaces that are never judged: nothing is written there.
    """

    def __init__(
        self,
        server: ServerClient,
        actor: JobActions,
        store: JobStore,
        metrics: EnforcementMetrics,
        pod_days: int,
        exempt: frozenset[str],
        now: Callable[[], float],
    ) -> None:
        self._server, self._actor, self._store, self._metrics, self._now = server, actor, store, metrics, now
        self._pod_days, self._exempt = pod_days, exempt
        self._without_data: set[str] = set()
        self._asked_at: dict[str, int] = {}
        self._written: dict[Key, _Written] = {}
        # When those whose last write failed were tried. They come last, or 200 of one tenant would hold up the rest.
        self._failed: dict[Key, int] = {}
        self._dropped = 0

    async def step(self, budgets: Sequence[EnforcedBudget], namespaces: Labels) -> None:
        """Once for all that is due."""
        await self._finished(BudgetsByNamespace(budgets), namespaces)
        await self._running(budgets, namespaces)

    async def _finished(self, governing: BudgetsByNamespace, namespaces: Labels) -> None:
        self._metrics.figures.labels("dropped").inc(self._store.departed_dropped - self._dropped)
        self._dropped = self._store.departed_dropped
        self._without_data &= self._store.jobs.keys()
        for uid, job in list(self._store.departed.items()):
            if not self._judged(job.namespace, namespaces):
                del self._store.departed[uid]
        waiting = jobs_to_annotate([*self._store.jobs.values(), *self._store.departed.values()])
        waiting = [
            job for job in waiting if job.uid not in self._without_data and self._judged(job.namespace, namespaces)
        ]
        if not waiting:
            return
        kept = int(self._now()) - self._pod_days * 86_400
        try:
            through = (await self._server.runs([])).data_through
            due = self._next([job for job in waiting if job.finished_at <= through])
            answers = (await self._server.runs([run_query(job, kept) for job in due])).answers if due else []
        except ServerUnavailable as error:
            _log.info("final figures wait for the next window: %s", error)
            return
        told: list[tuple[Job, Patch, EventText]] = []
        for job, answer in zip(due, answers, strict=True):
            if answer.pods:
                mine = governing.of(job, namespaces.get(job.namespace))
                told.append((job, *final_figures(job, answer, mine, kept, through)))
            elif is_beyond_reporting(job, through):
                self._metrics.figures.labels("nodata").inc()
                if self._store.departed.pop(job.uid, None) is None:
                    self._without_data.add(job.uid)
        await asyncio.gather(*(self._tell(*item) for item in told))

    def _next(self, due: Sequence[Job]) -> list[Job]:
        """As many as can be told, who was asked for longest ago first: those without data must not hold up others."""
        asked_at = self._asked_at
        chosen = sorted(due, key=lambda job: asked_at.get(job.uid, 0))[:_WRITES]
        uids = {job.uid for job in due}
        self._asked_at = {uid: at for uid, at in asked_at.items() if uid in uids}
        self._asked_at |= {job.uid: int(self._now()) for job in chosen}
        return chosen

    async def _tell(self, job: Job, patch: Patch, note: EventText) -> None:
        """Annotations, then the Event; a Job that is gone gets the Event alone."""
        fate = "event" if job.uid in self._store.departed else "annotated"
        if fate == "event":
            del self._store.departed[job.uid]
        elif not await self._actor.patch_job(job, patch):
            return
        self._metrics.figures.labels(fate).inc()
        await self._actor.tell(job, note, int(self._now()))

    def _judged(self, namespace: str, namespaces: Labels) -> bool:
        return is_judged_namespace(namespace, namespaces.get(namespace), self._exempt)

    async def _running(self, budgets: Sequence[EnforcedBudget], namespaces: Labels) -> None:
        """What the statuses name is told; what they no longer name loses its annotations: nobody would follow it."""
        named = workload_annotations(budgets)
        now = int(self._now())
        jobs = {(job.namespace, "Job", job.name): job for job in self._store.jobs.values() if not job.finished_at}
        told = {key for key, last in self._written.items() if last.standing != _NO_STANDING}
        # What Jobs say is known, also after a restart.
        told |= {key for key, job in jobs.items() if BUDGET_ANNOTATION in job.annotations}
        wanted = named | dict.fromkeys(sorted(told - named.keys()), _NOTHING)
        due = self._due(wanted, jobs, now)
        due = [key for key in due if self._judged(key[0], namespaces)][:_WRITES]
        fates = await asyncio.gather(*(self._actor.patch_workload(workload_path(key), wanted[key]) for key in due))
        self._failed = {key: at for key, at in self._failed.items() if key in wanted}
        for key, fate in zip(due, fates, strict=True):
            self._failed.pop(key, None)
            if fate == "failed":
                self._failed[key] = now
            elif fate == "written":
                self._metrics.annotations.inc()
                self._written[key] = _Written(budget_state(wanted[key]), wanted[key][EMISSIONS_ANNOTATION], now)
            elif fate == "gone":  # it is tried again while it is named: it may be made anew
                self._written[key] = _Written(at=now)
                if key not in named:
                    del self._written[key]
        self._written = {
            key: last
            for key, last in self._written.items()
            if (key in jobs if key[1] == "Job" else last.standing != _NO_STANDING) or now - last.at < _QUIET_S
            if self._judged(key[0], namespaces)
        }

    def _due(self, wanted: Mapping[Key, Mapping[str, str | None]], jobs: Mapping[Key, Job], now: int) -> list[Key]:
        """What differs and was not written lately: another standing first, then another figure, the oldest first.

        What failed comes last, what was tried longest ago first.
        """
        found: list[tuple[int, bool, int, Key]] = []
        for key, texts in wanted.items():
            last = self._written.get(key, _Written())
            if key[1] == "Job":
                if key not in jobs:
                    continue
                said = jobs[key].annotations
                at = max(last.at, instant(said.get(AS_OF_ANNOTATION, "")))
                last = _Written(budget_state(said), said.get(EMISSIONS_ANNOTATION), min(at, now))
                # A change of state need not wait for the figure that a restart finds.
                quiet_since = self._written[key].at if key in self._written else 0
            else:
                quiet_since = last.at
            stands = last.standing == budget_state(texts)
            if stands and last.emissions == texts[EMISSIONS_ANNOTATION]:
                continue
            if now - (last.at if stands else quiet_since) >= _QUIET_S:
                found.append((self._failed.get(key, 0), stands, last.at, key))
        return [key for *_, key in sorted(found)]
