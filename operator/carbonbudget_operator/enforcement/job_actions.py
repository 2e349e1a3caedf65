"""Sends patches of Jobs and other workloads, and Events about them, to the API server. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from carbonbudget_operator.api.kubernetes_event import InvolvedObject, event_body
from carbonbudget_operator.api.wire_names import CONTROLLER_MANAGER
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.job_fields import Job, patched_job
from carbonbudget_operator.enforcement.job_patches import EventText, Patch
from carbonbudget_operator.enforcement.job_store import JOBS, JobStore
from carbonbudget_operator.enforcement.kueue import patch_of_workload, patched_workload, workloads
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.enforcement.suspension_actions import SuspensionAction
from carbonbudget_operator.enforcement.suspension_patches import patch_of_suspension
from carbonbudget_operator.kube.client import MERGE_PATCH, METADATA, KubeClient, KubeError
from carbonbudget_operator.logs import FailureLog, log_action

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 16
_MANAGER: Final = {"fieldManager": CONTROLLER_MANAGER}

WriteResult = Literal["written", "gone", "failed"]

# Not allowed, or the namespace is gone or ends, or the Event is malformed: the same request fails again.
_REFUSED_FOR_GOOD: Final = frozenset((400, 403, 404, 409, 422))


class JobActions:
    """Writes to Jobs and other workloads. A write that fails is counted, and the next decision repeats it."""

    def __init__(self, client: KubeClient, store: JobStore, metrics: EnforcementMetrics, kueue: str = "") -> None:
        """`kueue` is the version of Kueue's API, empty where Kueue is not used."""
        self._client, self._store, self._metrics = client, store, metrics
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._failing = FailureLog()
        self.workloads = workloads(kueue)

    async def carry_out(self, actions: Iterable[SuspensionAction], now: int) -> None:
        """Carry out all of them, 16 at a time."""
        await asyncio.gather(*(self._act(action, now) for action in actions))

    async def _act(self, action: SuspensionAction, now: int) -> None:
        patch, event = patch_of_suspension(action, now)
        if not await self.patch_job(action.job, patch):
            return
        what = type(action).__name__.lower()
        self._metrics.actions.labels(what).inc()
        job, budget = action.job, getattr(action, "budget", None)
        kind, name = ("Workload", job.queued.name) if job.queued is not None else ("Job", job.name)
        by = f" by budget {budget.display_name}" if budget is not None else ""
        log_action(
            _log, what, f"{what} {kind} {job.namespace}/{name}{by}",
            kind=kind, namespace=job.namespace, name=name,
            **({"budget": budget.display_name} if budget is not None else {}),
        )  # fmt: skip
        if event is not None:
            await self.post_event(action.job, event, now)

    async def patch_job(self, job: Job, patch: Patch) -> bool:
        """Patch the Job, or the Workload of a queued Job, and return whether it was written.

        It is written only if it has not changed since it was seen. One that changed is decided about again.
        """
        path, uid = JOBS.at(job.namespace, job.name), job.uid
        if job.queued is not None:
            path, uid = self.workloads.at(job.namespace, job.queued.name), job.queued.uid
            patch = patch_of_workload(patch)
        metadata = patch["metadata"]
        assert isinstance(metadata, dict)
        body = patch | {"metadata": metadata | {"uid": uid, "resourceVersion": job.version}}
        try:
            async with self._slots:
                answer = await self._client.request("PATCH", path, body, _MANAGER, MERGE_PATCH, METADATA)
        except KubeError as error:
            if error.status == 404:
                self._failing.ends(str(path))
                self._store.forget(uid)
            elif error.status == 409:  # it changed in the meantime; the watch shows how
                self._metrics.overtaken.inc()
            else:
                self._log_failure(str(path), error)
            return False
        self._log_recovery(str(path))
        # The watch may show this write late, and until then nothing should be done twice. An object that the watch has
        # shown since is newer than the answer. One that is missing was deleted.
        if job.queued is not None:
            workload = self._store.workloads.get(uid)
            if workload is not None and workload.version == job.version:
                self._store.workloads[uid] = patched_workload(workload, patch, answer)
        elif self._store.jobs.get(uid) is job:
            self._store.jobs[uid] = patched_job(job, patch, answer)
        return True

    async def patch_workload(self, path: ApiPath, annotations: Mapping[str, str | None]) -> WriteResult:
        """Annotate a workload. `gone`: there is none of that name; `failed`: the failure is counted and logged."""
        try:
            async with self._slots:
                await self._client.send(
                    "PATCH", path, {"metadata": {"annotations": dict(annotations)}}, _MANAGER, MERGE_PATCH
                )
        except KubeError as error:
            if error.status == 404:
                return "gone"
            self._log_failure(str(path), error)
            return "failed"
        self._log_recovery(str(path))
        return "written"

    async def post_event(self, job: Job, event: EventText, now: int) -> bool:
        """Record an Event about the Job, which may be deleted already.

        Returns whether it is settled: recorded, or refused for good. Else it can be tried again.
        """
        about = InvolvedObject("batch/v1", "Job", job.name, job.namespace, job.uid)
        body = event_body(about, "controller", event.type, event.reason, event.message, now)
        try:
            async with self._slots:
                await self._client.send("POST", about.events_path, body)
        except KubeError as error:
            if self._failing.begins("events"):
                _log.warning("%s of Job %s/%s was not posted: %s", event.reason, job.namespace, job.name, error.reason)
            return error.status in _REFUSED_FOR_GOOD
        self._failing.ends("events")
        return True

    def _log_failure(self, what: str, error: KubeError) -> None:
        self._metrics.failures.inc()
        if self._failing.begins(what):  # logged once, until a write succeeds
            _log.warning("%s not updated, tried again later: %s", what, error.reason)

    def _log_recovery(self, what: str) -> None:
        if self._failing.ends(what):
            _log.info("%s updated again", what)
