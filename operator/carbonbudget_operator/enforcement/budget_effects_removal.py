"""Removes every effect of budgets from a cluster: lifts blocks, resumes suspended Jobs, withdraws announcements.

It also starts the Jobs that wait for a cleaner hour, since nobody would start them later. The command
`carbonbudget release` and the chart's uninstall hook use it. Budgets come first: while the webhook still
applies a block, it could refuse the resumption of a Job.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import (
    BLOCKING_LABEL,
    BUDGET,
    CLUSTER_BUDGET,
    CONTROLLER_MANAGER,
    DEFER_LABEL,
    SUSPEND_AT_ANNOTATION,
    SUSPENDABLE_LABEL,
    SUSPENDED_BY_ANNOTATION,
    SUSPENDED_LABEL,
    Resource,
)
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.deferral_patches import early_start_patch
from carbonbudget_operator.enforcement.deferral_state import declined, is_deferred
from carbonbudget_operator.enforcement.job_fields import Job, parse_job
from carbonbudget_operator.enforcement.job_store import JOBS
from carbonbudget_operator.enforcement.kueue import GROUP, parse_workload, patch_of_workload, workloads
from carbonbudget_operator.enforcement.kueue_versions import served_version, served_versions, serves_workloads
from carbonbudget_operator.enforcement.suspension_actions import Resume, SuspensionAction, Unmark, Withdraw
from carbonbudget_operator.enforcement.suspension_patches import patch_of_suspension, release_patch
from carbonbudget_operator.kube.client import MERGE_PATCH, METADATA, ImpossibleName, JsonObject, KubeClient, KubeError

_ATTEMPTS: Final = 4
_PAUSE_S: Final = 0.5
# Deferred Jobs are started one after the other over this time at most: the command gives up after a minute.
_SPREAD_S: Final = 20.0
_LONGEST_SPREAD_PAUSE_S: Final = 0.1
AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class RemovalScope:
    """Where effects are removed: everywhere (`namespace` is empty), in a namespace, or of one budget in it."""

    namespace: str = ""
    budget: str = ""


class BudgetEffectsRemoval:
    """Writes to budgets, Jobs and Kueue's Workloads; `done` and `failed` count the objects.

    `started` are those of `done` that were only deferred: no controller defers them again.

    `report` is called with a line for each object. With `dry_run` nothing is written, and the lines are of what would
    be.
    """

    def __init__(self, client: KubeClient, dry_run: bool, report: Callable[[str], None], kueue: str = "") -> None:
        """`kueue` is the version of Kueue's API, AUTO for the newest that the cluster serves, empty for no Kueue."""
        self._client, self._dry_run, self._report, self._kueue = client, dry_run, report, kueue
        self.done = 0
        self.started = 0
        self.failed = 0

    async def check(self, scope: RemovalScope) -> None:
        """Raise KubeError if the namespace or the version of Kueue's API does not exist. Nothing is written.

        Only a 404 counts. A caller who may not read the namespace can release the objects in it.
        """
        if scope.namespace and await self._is_missing(ApiPath("", "v1", "namespaces", name=scope.namespace)):
            raise _missing(f"there is no namespace {scope.namespace!r}: correct --namespace")
        if not self._kueue or self._kueue == AUTO:
            return
        try:
            if await serves_workloads(self._client, self._kueue):
                return
            served = await served_versions(self._client)
        except ImpossibleName:
            raise
        except KubeError:  # the list of Workloads shows whether it can be used
            return
        known = f"it serves {', '.join(served)}" if served else "it serves none: omit --kueue, or install Kueue first"
        raise _missing(f"the cluster does not serve Kueue's workloads in version {self._kueue}; {known}")

    async def check_budget(self, scope: RemovalScope) -> None:
        """Raise KubeError if the budget in scope does not exist.

        It is called when nothing was released: Jobs that a deleted budget suspended are released by its name.
        """
        if scope.budget and await self._is_missing(BUDGET.path(scope.namespace, scope.budget)):
            where = f"in namespace {scope.namespace}"
            raise _missing(f"there is no CarbonBudget {scope.budget!r} {where}: correct --budget or --namespace")

    async def stop_controller(self, namespace: str, name: str, ignore_not_found: bool = False) -> None:
        """Scale the controller's Deployment to 0 and wait until its pods are gone, since it would block again.

        Raises KubeError if there is no such Deployment, unless `ignore_not_found`: a running controller of another name
        would undo the release. A dry run asks the API server to check the same request.
        """
        path, which = ApiPath("apps", "v1", "deployments", namespace, name, "scale"), f"Deployment {namespace}/{name}"
        params = {"dryRun": "All"} if self._dry_run else None
        try:
            body = {"spec": {"replicas": 0}}
            scale = await self._client.request("PATCH", path, body, params, content_type=MERGE_PATCH)
        except KubeError as error:
            if error.status != HTTPStatus.NOT_FOUND or isinstance(error, ImpossibleName):
                self._count_failed(which, error)
            elif ignore_not_found:
                self._report(f"{which}: not found, ignored")
            else:
                advice = "correct --stop-controller, or add --ignore-not-found"
                raise _missing(f"there is no {which}, and nothing is released: {advice}") from None
            return
        self._count_done(which, "scaled to 0")
        selector = "" if self._dry_run else str(at(scale, "status").get("selector", ""))
        while selector:
            pods = self._client.list(ApiPath("", "v1", "pods", namespace), {"labelSelector": selector})
            try:
                if not [pod async for pod in pods]:
                    return
            except KubeError as error:
                self._count_failed(f"pods of {namespace}/{name}", error)
                return
            await asyncio.sleep(_PAUSE_S)

    async def run(self, scope: RemovalScope, now: int) -> None:
        """Remove the effects in scope. An object that cannot be written is counted in `failed`."""
        await self._release_budgets(scope)
        await self._resume_jobs(scope, now)
        await self.run_workloads(scope, now)
        if not scope.budget:  # an announcement does not name its budget; the controller withdraws it
            await self._withdraw_announcements(scope, now)
            await self._start_deferred_jobs(scope, now)

    async def _release_budgets(self, scope: RemovalScope) -> None:
        for resource in (BUDGET, CLUSTER_BUDGET):
            if scope.namespace and not resource.namespaced:
                continue
            path = resource.path(scope.namespace) if scope.namespace else resource.collection
            async for body in self._list(path):
                await self._release_budget(resource, body, scope)

    async def _resume_jobs(self, scope: RemovalScope, now: int) -> None:
        """Resume the Jobs that we suspended, and remove our marks from those that run or belong to somebody else."""
        suspended = {"labelSelector": f"{SUSPENDED_LABEL}=true"}
        async for body in self._list(JOBS.at(scope.namespace or None), suspended):
            job = parse_job(body)
            by = job.annotations.get(SUSPENDED_BY_ANNOTATION, "")
            if scope.budget and by != f"{scope.namespace}/{scope.budget}":
                continue
            if job.suspended and not job.managed and by:  # without the annotation the label is not ours
                await self._release_job(Resume(job), "resumed", now)
            else:
                await self._release_job(Unmark(job), "no longer marked", now)

    async def _withdraw_announcements(self, scope: RemovalScope, now: int) -> None:
        suspendable = {"labelSelector": f"{SUSPENDABLE_LABEL}=true,{SUSPENDED_LABEL}!=true"}
        async for body in self._list(JOBS.at(scope.namespace or None), suspendable):
            job = parse_job(body)
            if SUSPEND_AT_ANNOTATION in job.annotations:
                await self._release_job(Withdraw(job), "will not be suspended", now)

    async def _start_deferred_jobs(self, scope: RemovalScope, now: int) -> None:
        """Start the Jobs that wait for their chosen start. Each that is left suspended is named with the reason."""
        found = []
        async for body in self._list(JOBS.at(scope.namespace or None), {"labelSelector": f"{DEFER_LABEL}=true"}):
            job = parse_job(body)
            if is_deferred(job):
                found.append(job)
            elif job.suspended and not job.marked and not job.finished_at and (reason := declined(job)):
                self._report(f"Job {job.namespace}/{job.name}: not started: {reason}")
        pause_s = 0.0 if self._dry_run else min(_LONGEST_SPREAD_PAUSE_S, _SPREAD_S / max(1, len(found)))
        for job in found:
            which, path, before = f"Job {job.namespace}/{job.name}", JOBS.at(job.namespace, job.name), self.done
            await self._patch_object(which, "started, no longer deferred", path, job.uid, early_start_patch(now))
            self.started += self.done - before
            await asyncio.sleep(pause_s)

    async def run_workloads(self, scope: RemovalScope, now: int) -> None:
        """Activate Kueue's Workloads in scope: those that we deactivated have our label and our annotation."""
        version = await self._served_version() if self._kueue == AUTO else self._kueue
        if not version:
            return
        collection, suspended = workloads(version), {"labelSelector": f"{SUSPENDED_LABEL}=true"}
        path, is_auto = collection.at(scope.namespace or None), self._kueue == AUTO
        async for body in self._list(path, suspended, may_be_missing=is_auto):
            workload = parse_workload(body)
            by = workload.annotations.get(SUSPENDED_BY_ANNOTATION, "") if workload is not None else ""
            if workload is None or not by or (scope.budget and by != f"{scope.namespace}/{scope.budget}"):
                continue
            one = collection.at(workload.namespace, workload.name)
            what = "no longer marked" if workload.active else "active again"
            patch = patch_of_workload(release_patch(now, resumes=not workload.active))
            await self._patch_object(f"Workload {workload.namespace}/{workload.name}", what, one, workload.uid, patch)

    async def _served_version(self) -> str:
        """The newest version of Kueue's API that the cluster serves; empty where there is no Kueue."""
        try:
            return await served_version(self._client)
        except KubeError as error:
            self._count_failed(f"API group {GROUP}", error)
            return ""

    async def _release_budget(self, resource: Resource, body: JsonObject, scope: RemovalScope) -> None:
        metadata = at(body, "metadata")
        namespace, name = str(metadata.get("namespace", "")), str(metadata.get("name"))
        if scope.budget and name != scope.budget:
            return
        path = resource.path(namespace, name)
        writes: list[Callable[[], Awaitable[object]]] = []
        if at(body, "status").get("enforcement"):
            writes.append(lambda: self._patch(path.sub("status"), {"status": {"enforcement": None}}))
        if BLOCKING_LABEL in at(metadata, "labels"):
            writes.append(lambda: self._patch(path, {"metadata": {"labels": {BLOCKING_LABEL: None}}}))
        if writes:
            shown = f"{namespace}/{name}" if namespace else name
            await self._attempt(f"{resource.kind} {shown}", "no longer blocks or suspends", writes)

    async def _release_job(self, action: SuspensionAction, what: str, now: int) -> None:
        job: Job = action.job
        patch, _ = patch_of_suspension(action, now)
        await self._patch_object(
            f"Job {job.namespace}/{job.name}", what, JOBS.at(job.namespace, job.name), job.uid, patch
        )

    async def _patch_object(self, which: str, what: str, path: ApiPath, uid: str, patch: dict[str, object]) -> None:
        """Write to the object of that uid, and not to a later one of the same name."""
        metadata = patch["metadata"]
        assert isinstance(metadata, dict)
        body = patch | {"metadata": metadata | {"uid": uid}}
        await self._attempt(which, what, [lambda: self._patch(path, body)])

    async def _attempt(self, which: str, what: str, writes: list[Callable[[], Awaitable[object]]]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                for write in writes if not self._dry_run else ():
                    await write()
                self._count_done(which, what)
                return
            except KubeError as error:
                if error.status == 404:  # deleted, and its effects with it
                    return
                if attempt == _ATTEMPTS:
                    self._count_failed(which, error)
                else:  # also 403: the webhook follows a budget's status within a second
                    await asyncio.sleep(_PAUSE_S * attempt)

    async def _patch(self, path: ApiPath, body: dict[str, object]) -> None:
        await self._client.request("PATCH", path, body, {"fieldManager": CONTROLLER_MANAGER}, MERGE_PATCH)

    async def _list(
        self, path: ApiPath, params: dict[str, str] | None = None, may_be_missing: bool = True
    ) -> AsyncIterator[JsonObject]:
        """The objects at this path. `may_be_missing`: a cluster without the kind has none, and nothing failed."""
        try:
            async for item in self._client.list(path, params):
                yield item
        except KubeError as error:
            if error.status != 404 or isinstance(error, ImpossibleName) or not may_be_missing:
                self._count_failed(str(path), error)

    async def _is_missing(self, path: ApiPath) -> bool:
        """Whether the API server answers 404. Raises ImpossibleName; any other error proves nothing."""
        try:
            await self._client.request("GET", path, accept=METADATA)
        except ImpossibleName:
            raise
        except KubeError as error:
            return error.status == HTTPStatus.NOT_FOUND
        return False

    def _count_done(self, which: str, what: str) -> None:
        self.done += 1
        self._report(f"{which}: {what}{' (dry run)' if self._dry_run else ''}")

    def _count_failed(self, which: str, error: KubeError) -> None:
        self.failed += 1
        self._report(f"{which}: not released: {error.reason}")


def _missing(sentence: str) -> KubeError:
    return KubeError(HTTPStatus.NOT_FOUND, sentence)
