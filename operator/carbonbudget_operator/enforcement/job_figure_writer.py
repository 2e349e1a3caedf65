"""Writes the emissions of finished Jobs to their annotations, and records the Event `CarbonEmitted`.

Each Job is written twice: provisional figures at its end, final ones when its last hour is over. The Job's annotations
say which of the two it has, so a restart of the controller repeats neither.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from carbonbudget_operator.api.budget_query_bodies import RunAnswer
from carbonbudget_operator.enforcement.enforced_budgets import BudgetsByNamespace, EnforcedBudget, is_enforced_namespace
from carbonbudget_operator.enforcement.job_actions import JobActions
from carbonbudget_operator.enforcement.job_emissions import (
    LedgerProgress,
    figure_stage,
    is_beyond_reporting,
    is_figure_due,
    job_figures,
    jobs_to_annotate,
    run_query,
)
from carbonbudget_operator.enforcement.job_fields import Job
from carbonbudget_operator.enforcement.job_store import JobStore
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_log = logging.getLogger(__name__)
_WRITES_PER_WINDOW: Final = 200  # a thousand Jobs that end together must not overload the API server

NamespaceLabels = Mapping[str, Mapping[str, str]]


class JobFigureWriter:
    """`write_due` is called in each window. `pod_days`: for how many days the server stores the use of single pods.

    `exempt` are namespaces in which nothing is written.
    """

    def __init__(
        self,
        server: ServerClient,
        actions: JobActions,
        store: JobStore,
        metrics: EnforcementMetrics,
        pod_days: int,
        exempt: frozenset[str],
        now: Callable[[], float],
    ) -> None:
        self._server, self._actions, self._store, self._metrics, self._now = server, actions, store, metrics, now
        self._pod_days, self._exempt = pod_days, exempt
        self._without_data: set[str] = set()
        self._asked_at: dict[str, int] = {}
        self._progress: LedgerProgress | None = None
        self._dropped = 0

    async def write_due(self, budgets: Sequence[EnforcedBudget], namespaces: NamespaceLabels) -> None:
        """Write the figures that are due, 200 Jobs at most. While the server does not answer nothing is written."""
        self._metrics.figures.labels("dropped").inc(self._store.deleted_dropped - self._dropped)
        self._dropped = self._store.deleted_dropped
        waiting = self._jobs_without_final_figures(namespaces)
        if not waiting:
            return
        kept_from = int(self._now()) - self._pod_days * 86_400
        try:
            progress = self._progress = self._progressed((await self._server.runs([])).data_through)
            due = self._next(
                [job for job in waiting if is_figure_due(job, job.uid in self._store.deleted, progress)], progress
            )
            answers = (await self._server.runs([run_query(job, kept_from) for job in due])).answers if due else []
        except ServerUnavailable as error:
            self._progress = None  # how long there were no new reports is not known any more
            _log.info("figures of finished Jobs are written in a later window: %s", error)
            return
        covering = BudgetsByNamespace(budgets)
        writes = []
        for job, answer in zip(due, answers, strict=True):
            if answer.pods:
                governing = covering.of(job, namespaces.get(job.namespace))
                writes.append(self._write(job, answer, governing, kept_from, progress))
            elif is_beyond_reporting(job, progress):
                self._metrics.figures.labels("nodata").inc()
                if self._store.deleted.pop(job.uid, None) is None:
                    self._without_data.add(job.uid)
        await asyncio.gather(*writes)

    def _jobs_without_final_figures(self, namespaces: NamespaceLabels) -> list[Job]:
        """The finished Jobs, also deleted ones, except those of exempt namespaces and those without any report."""

        def exempt(job: Job) -> bool:
            return not is_enforced_namespace(job.namespace, namespaces.get(job.namespace), self._exempt)

        for uid, job in list(self._store.deleted.items()):
            if uid in self._without_data or exempt(job):
                del self._store.deleted[uid]
        self._without_data &= self._store.jobs.keys()
        found = jobs_to_annotate([*self._store.jobs.values(), *self._store.deleted.values()])
        return [job for job in found if job.uid not in self._without_data and not exempt(job)]

    def _progressed(self, data_through: int) -> LedgerProgress:
        last, now = self._progress, int(self._now())
        unchanged = last is not None and last.data_through == data_through
        return LedgerProgress(now, data_through, last.unchanged_since if last is not None and unchanged else now)

    def _next(self, due: Sequence[Job], progress: LedgerProgress) -> list[Job]:
        """As many as can be written in a window.

        Jobs that were asked for in vain come last, the longest ago first: those without data must not delay others.
        Final figures come before provisional ones: where too many Jobs finish to write each twice, each has its final
        figure.
        """
        asked_at = self._asked_at

        def rank(job: Job) -> tuple[int, bool]:
            return asked_at.get(job.uid, 0), figure_stage(job, progress) == "provisional"

        chosen = sorted(due, key=rank)[:_WRITES_PER_WINDOW]
        uids = {job.uid for job in due}
        self._asked_at = {uid: at for uid, at in asked_at.items() if uid in uids}
        self._asked_at |= {job.uid: int(self._now()) for job in chosen}
        return chosen

    async def _write(
        self,
        job: Job,
        answer: RunAnswer,
        governing: Sequence[EnforcedBudget],
        kept_from: int,
        progress: LedgerProgress,
    ) -> None:
        """Write the annotations, and the Event with final ones. A Job that was deleted gets the Event alone."""
        patch, event = job_figures(job, answer, governing, kept_from, progress)
        deleted = job.uid in self._store.deleted
        if not deleted and not await self._actions.patch_job(job, patch):
            return
        if not deleted and figure_stage(job, progress) == "provisional":
            self._metrics.annotations.inc()
            return
        settled = await self._actions.post_event(job, event, int(self._now()))
        if not deleted:  # the Event repeats what was patched, so it is not sent again
            self._metrics.figures.labels("annotated").inc()
        elif settled:  # a deleted Job has its figures nowhere else
            self._store.deleted.pop(job.uid, None)
            self._metrics.figures.labels("event").inc()
