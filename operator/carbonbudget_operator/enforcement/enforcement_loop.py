"""The enforcement loop: suspends and resumes Jobs in each window and soon after a change, and writes annotations."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Protocol

from carbonbudget_operator.api.wire_names import RESOURCES
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget, is_enforced_namespace, parse_budget
from carbonbudget_operator.enforcement.flagged_targets import parse_target
from carbonbudget_operator.enforcement.forecast_source import ForecastSource
from carbonbudget_operator.enforcement.job_actions import JobActions
from carbonbudget_operator.enforcement.job_deferral import JobDeferral
from carbonbudget_operator.enforcement.job_figure_writer import JobFigureWriter
from carbonbudget_operator.enforcement.job_store import JobStore
from carbonbudget_operator.enforcement.kueue import workloads
from carbonbudget_operator.enforcement.kueue_versions import served_version
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.enforcement.suspension_decisions import decide_suspensions
from carbonbudget_operator.enforcement.workload_annotator import WorkloadAnnotator
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import EnforcementSettings

_log = logging.getLogger(__name__)
_DEBOUNCE_S: Final = 0.5
_LATEST_WAKE_S: Final = 0.05
_PATIENCE_WINDOWS: Final = 5
_KUEUE_RETRY_S = 5.0
_KUEUE_LOOK_S = 60.0  # while it is not installed

Body = Mapping[str, object]
Labels = Mapping[str, Mapping[str, str]]


class ConflictReporter(Protocol):
    """Records the condition EnforcementConflict of budgets; keys are the server's ("namespace/name", "/name")."""

    def report(self, budget_key: str, message: str, managed: bool = False) -> None:
        """Set the condition until it is cleared. `managed`: another controller decides when the named Jobs run."""

    def clear(self, budget_key: str) -> None:
        """Remove the condition."""


class EnforcementLoop:
    """Runs in the controller, beside the evaluation of budgets. It reads budgets' statuses only.

    `bodies` are the budgets of the controller's watch by uid; `changed` is set at each change of them. `namespaces` are
    the namespaces' labels, None while not known. `exempt` are namespaces in which budgets do not act. `is_evaluated`
    returns whether this process has evaluated the budget of a key; without it every status is used. `targets` are the
    targets of the controller's watches, None until these have shown all.
    """

    def __init__(
        self,
        client: KubeClient,
        server: ServerClient,
        bodies: Callable[[], Mapping[str, Body]],
        changed: asyncio.Event,
        namespaces: Callable[[], Labels | None],
        conflicts: ConflictReporter,
        settings: EnforcementSettings,
        exempt: frozenset[str],
        metrics: EnforcementMetrics,
        window_seconds: int,
        pod_days: int,
        now: Callable[[], float] = time.time,
        is_evaluated: Callable[[str], bool] = lambda _: True,
        targets: Callable[[], Iterable[Body] | None] = tuple,
    ) -> None:
        self._client, self._bodies, self._changed, self._namespaces = client, bodies, changed, namespaces
        self._conflicts, self._settings, self._exempt, self._metrics = conflicts, settings, exempt, metrics
        self._window_s, self._now = window_seconds, now
        self.store = JobStore()
        self._actions = JobActions(client, self.store, metrics, settings.kueue)
        self._figure_writer = JobFigureWriter(server, self._actions, self.store, metrics, pod_days, exempt, now)
        self.deferral = JobDeferral(
            ForecastSource(server, now), self._actions, self.store, metrics, settings, exempt, now
        )
        self._annotator = WorkloadAnnotator(self._actions, self.store, metrics, exempt, now)
        self._targets, self._annotating_since = targets, 0.0
        self._parsed: dict[str, tuple[Body, EnforcedBudget | None]] = {}
        self._reported: set[str] = set()
        self._complete, self._is_evaluated, self._waiting_since = False, is_evaluated, 0.0
        self._here_since = 0  # UTC seconds of the first decision
        self._wake_at = 0

    def job_uids(self) -> dict[tuple[str, str, str], str]:
        """The Jobs' uids by namespace, kind and name."""
        return {(job.namespace, "Job", job.name): job.uid for job in self.store.jobs.values()}

    def acts_in(self, namespace: str) -> bool:
        """Whether budgets act in a namespace; False while the namespaces are not known."""
        labels = self._namespaces()
        return labels is not None and is_enforced_namespace(namespace, labels.get(namespace), self._exempt)

    async def run(self) -> None:
        """Never returns. A round that fails is logged and counted, and the next one tries again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.store.follow(self._client))
            if self._settings.kueue:
                group.create_task(self.follow_workloads())
            group.create_task(self._rounds("enforcement", self._wait, self.step))
            group.create_task(self._rounds("deferral", self._wait_for_deferral, self.defer))
            group.create_task(self.deferral.forecasts.run())
            if self._settings.annotate:
                group.create_task(self._rounds("annotation", self._next_window, self.annotate))

    async def follow_workloads(self) -> None:
        """Watch Kueue's Workloads by the newest version of its API, else by the setting's; never returns."""
        version, logged = "", False
        while True:
            try:
                version = await served_version(self._client)
                if version:
                    break
                if not logged:
                    _log.info("Kueue is not installed: its API is looked for every %d s", _KUEUE_LOOK_S)
                logged = True
                await asyncio.sleep(_KUEUE_LOOK_S)
            except KubeError as error:
                if not logged:
                    _log.warning("the versions of Kueue's API cannot be read: %s", error.reason)
                logged = True
                if error.status == HTTPStatus.FORBIDDEN:
                    break
                await asyncio.sleep(_KUEUE_RETRY_S)  # or an older version would be used until the next start
        path = self._actions.workloads = workloads(version or self._settings.kueue)
        await self.store.follow_workloads(self._client, path)

    async def _rounds(
        self, what: str, wait: Callable[[], Awaitable[None]], step: Callable[[], Awaitable[None]]
    ) -> None:
        while True:
            await wait()
            try:
                await step()
            except Exception:
                # No fault may end the loop: a Job that is resumed late is better than one that never is.
                self._metrics.failures.inc()
                _log.exception("%s failed; the next round tries again", what)

    async def _next_window(self) -> None:
        """Sleep until two fifths of a window after its end: budgets are evaluated a fifth earlier."""
        delay, now = self._window_s * 2 / 5, self._now()
        await asyncio.sleep(((now - delay) // self._window_s + 1) * self._window_s + delay - now)

    async def _wait(self) -> None:
        """Sleep until the next window, a change of a budget or of a Job that opted in, or the next due action."""
        await self._wait_for((self._changed, self.store.changed), self._wake_at)

    async def _wait_for_deferral(self) -> None:
        """Sleep until the next window, a change of a deferred Job or of the forecast, or the next due start."""
        await self._wait_for((self.store.wishes_changed, self.deferral.forecasts.changed), self.deferral.wake_at)

    async def _wait_for(self, changes: Sequence[asyncio.Event], wake_at: int) -> None:
        waits = [*(asyncio.create_task(change.wait()) for change in changes), asyncio.create_task(self._next_window())]
        if wake_at:
            waits.append(asyncio.create_task(asyncio.sleep(max(_LATEST_WAKE_S, wake_at - self._now()))))
        try:
            await asyncio.wait(waits, return_when="FIRST_COMPLETED")
        finally:
            for wait in waits:
                wait.cancel()
        if any(change.is_set() for change in changes):
            await asyncio.sleep(_DEBOUNCE_S)  # changes often come together
        for change in changes:
            change.clear()

    async def step(self) -> None:
        """Decide about all Jobs, and carry out the actions."""
        self._wake_at = 0
        labels = self._namespaces()
        if labels is None or not await self._ready():
            return
        now, budgets = int(self._now()), self._budgets()
        if not self._all_evaluated(budgets):
            return
        decision = decide_suspensions(
            budgets,
            self.store.suspension_candidates(),
            labels,
            now,
            self._settings.resume_jitter_seconds,
            self._settings.mode == "Enforce",
            self._exempt,
            self._here_since,
        )
        self._wake_at = decision.wake_at
        for key, message in decision.conflicts.items():
            self._conflicts.report(key, message, key in decision.managed)
        for key in self._reported - decision.conflicts.keys():
            self._conflicts.clear(key)
        self._reported = set(decision.conflicts)
        self._metrics.conflicts.set(len(decision.conflicts))
        await self._actions.carry_out(decision.actions, now)
        self._metrics.suspended.set(sum(job.marked and job.suspended for job in self.store.suspension_candidates()))

    async def defer(self) -> None:
        """Decide about deferred Jobs, and carry out the actions: in every mode, since it is their owners' wish."""
        labels = self._namespaces()
        if labels is None or not await self._ready():
            return
        budgets = self._budgets()
        if self._all_evaluated(budgets):
            await self.deferral.step(budgets, labels, self._here_since)

    async def annotate(self) -> None:
        """Write the figures of finished Jobs and the annotations of workloads that run, as far as they are due."""
        labels = self._namespaces()
        if labels is not None and await self._ready():
            budgets = self._budgets()
            await self._figure_writer.write_due(budgets, labels)
            self._annotating_since = self._annotating_since or self._now()
            targets = self._targets()
            if targets is None and self._now() - self._annotating_since < _PATIENCE_WINDOWS * self._window_s:
                return  # a target that is not shown yet would look like one that flags nothing
            await self._annotator.write_due(budgets, [parse_target(body) for body in targets or ()], labels)

    def _all_evaluated(self, budgets: Sequence[EnforcedBudget]) -> bool:
        """Whether this process has evaluated each budget once, or has waited five windows for it.

        Until then a status may be old: its `until` may have passed while no controller renewed it. All its Jobs would
        be resumed, and suspended again a minute later.
        """
        if not self._here_since:
            now = self._now()
            self._waiting_since = self._waiting_since or now
            patient = now - self._waiting_since < _PATIENCE_WINDOWS * self._window_s
            if patient and not all(self._is_evaluated(budget.key) for budget in budgets):
                return False
            self._here_since = int(now)
        return True

    def _budgets(self) -> list[EnforcedBudget]:
        """All valid budgets. An object is parsed once, until it changes."""
        bodies = self._bodies()
        self._parsed = {
            uid: known if (known := self._parsed.get(uid)) and known[0] is body else (body, parse_budget(body))
            for uid, body in bodies.items()
        }
        return [budget for _, budget in self._parsed.values() if budget is not None]

    async def _ready(self) -> bool:
        """Whether the watches have shown all Jobs and all budgets once.

        After a start, a budget that the watch has not shown yet would look like a deleted one, and all Jobs that it
        suspended would be resumed.
        """
        if not self.store.listed:
            return False
        if not self._complete:
            bodies = self._bodies()
            for resource in RESOURCES:
                try:
                    async for item in self._client.list(resource.collection, metadata_only=True):
                        metadata = item.get("metadata")
                        if not isinstance(metadata, dict) or metadata.get("uid") not in bodies:
                            return False
                except KubeError as error:
                    if error.status != 404:  # no such kind: no such budget
                        _log.warning("enforcement starts when %s can be listed: %s", resource.plural, error.reason)
                        return False
            self._complete = True
        return True
