"""Takes back all that budgets do to a cluster: blocks, suspensions, announcements. For `carbonbudget release`.

Budgets first: a webhook that still knows of a block could refuse the resumption of a Job.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.resource_names import (
    BLOCKING_LABEL,
    BUDGET,
    CLUSTER_BUDGET,
    SUSPEND_AT_ANNOTATION,
    SUSPENDABLE_LABEL,
    SUSPENDED_BY_ANNOTATION,
    SUSPENDED_LABEL,
    Resource,
)
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.job import FIELD_MANAGER, Job, parse_job
from carbonbudget_operator.enforcement.job_store import JOBS
from carbonbudget_operator.enforcement.kueue import GROUP, parse_workload, patch_of_workload, workloads
from carbonbudget_operator.enforcement.kueue_versions import served_version
from carbonbudget_operator.enforcement.patches import patch_of, release_patch
from carbonbudget_operator.enforcement.suspension import Action, Resume, Unmark, Withdraw
from carbonbudget_operator.kube.client import MERGE_PATCH, ImpossibleName, JsonObject, KubeClient, KubeError

_ATTEMPTS: Final = 4
_PAUSE_S: Final = 0.5
AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class ReleaseScope:
    """What is released: all (`namespace` is empty), a namespace, or one budget of it and the Jobs it suspended."""

    namespace: str = ""
    budget: str = ""


class BudgetRelease:
    """`say` is told of each thing that is done, or with `dry_run` would be; nothing is written then."""

    def __init__(self, client: KubeClient, dry_run: bool, say: Callable[[str], None], kueue: str = "") -> None:
        """`kueue` is the version of its API, AUTO for one that the cluster has, empty where it is not used."""
        self._client, self._dry_run, self._say, self._kueue = client, dry_run, say, kueue
        self.done = 0
        self.failed = 0

    async def stop_controller(self, namespace: str, name: str) -> None:
        """Scale the controller's Deployment to 0 and wait until its pods are gone: it would block again."""
        path = ApiPath("apps", "v1", "deployments", namespace, name, "scale")
        if self._dry_run:
            self._tell(f"Deployment {namespace}/{name}", "scaled to 0")
            return
        try:
            scale = await self._client.request("PATCH", path, {"spec": {"replicas": 0}}, content_type=MERGE_PATCH)
        except KubeError as error:
            if error.status != 404 or isinstance(error, ImpossibleName):
                self._fail(f"Deployment {namespace}/{name}", error)
            return
        self._tell(f"Deployment {namespace}/{name}", "scaled to 0")
        selector = str(at(scale, "status").get("selector", ""))
        while selector:
            pods = self._client.list(ApiPath("", "v1", "pods", namespace), {"labelSelector": selector})
            try:
                if not [pod async for pod in pods]:
                    return
            except KubeError as error:
                self._fail(f"pods of {namespace}/{name}", error)
                return
            await asyncio.sleep(_PAUSE_S)

    async def run(self, scope: ReleaseScope, now: int) -> None:
        """Release what is in scope. What cannot be written is counted in `failed`; the rest goes on."""
        for resource in (BUDGET, CLUSTER_BUDGET):
            if resource.namespaced or not scope.namespace:
                async for body in self._list(
                    resource.path(scope.namespace) if scope.namespace else resource.collection
                ):
                    await self._budget(resource, body, scope)
        jobs = JOBS.at(scope.namespace or None)
        async for body in self._list(jobs, {"labelSelector": f"{SUSPENDED_LABEL}=true"}):
            job = parse_job(body)
            by = job.annotations.get(SUSPENDED_BY_ANNOTATION, "")
            if scope.budget and by != f"{scope.namespace}/{scope.budget}":
                continue
            resumes = job.suspended and not job.managed and bool(by)  # without it the label is not ours
            await self._job(Resume(job) if resumes else Unmark(job), "resumed" if resumes else "no longer marked", now)
        await self.run_workloads(scope, now)
        if scope.budget:
            return  # an announcement does not say whose it is; the controller takes it back
        async for body in self._list(jobs, {"labelSelector": f"{SUSPENDABLE_LABEL}=true,{SUSPENDED_LABEL}!=true"}):
            job = parse_job(body)
            if SUSPEND_AT_ANNOTATION in job.annotations:
                await self._job(Withdraw(job), "will not be suspended", now)

    async def run_workloads(self, scope: ReleaseScope, now: int) -> None:
        """Of what is in scope only Kueue's Workloads: those that we deactivated have our label and our annotation."""
        version = await self._version() if self._kueue == AUTO else self._kueue
        if not version:
            return
        found = workloads(version)
        async for body in self._list(found.at(scope.namespace or None), {"labelSelector": f"{SUSPENDED_LABEL}=true"}):
            workload = parse_workload(body)
            by = workload.annotations.get(SUSPENDED_BY_ANNOTATION, "") if workload is not None else ""
            if workload is None or not by or (scope.budget and by != f"{scope.namespace}/{scope.budget}"):
                continue
            where = found.at(workload.namespace, workload.name)
            what = "no longer marked" if workload.active else "active again"
            patch = patch_of_workload(release_patch(now, resumes=not workload.active))
            await self._marked(f"Workload {workload.namespace}/{workload.name}", what, where, workload.uid, patch)

    async def _version(self) -> str:
        """The newest version of Kueue's API that the cluster has; empty where there is no Kueue."""
        try:
            return await served_version(self._client)
        except KubeError as error:
            self._fail(f"API group {GROUP}", error)
            return ""

    async def _budget(self, resource: Resource, body: JsonObject, scope: ReleaseScope) -> None:
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
            await self._do(f"{resource.kind} {shown}", "no longer blocks or suspends", writes)

    async def _job(self, action: Action, what: str, now: int) -> None:
        job: Job = action.job
        patch, _ = patch_of(action, now)
        await self._marked(f"Job {job.namespace}/{job.name}", what, JOBS.at(job.namespace, job.name), job.uid, patch)

    async def _marked(self, which: str, what: str, path: ApiPath, uid: str, patch: dict[str, object]) -> None:
        """Write to the object of that uid, and to no later one of its name."""
        metadata = patch["metadata"]
        assert isinstance(metadata, dict)
        body = patch | {"metadata": metadata | {"uid": uid}}
        await self._do(which, what, [lambda: self._patch(path, body)])

    async def _do(self, which: str, what: str, writes: list[Callable[[], Awaitable[object]]]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                for write in writes if not self._dry_run else ():
                    await write()
                self._tell(which, what)
                return
            except KubeError as error:
                if error.status == 404:  # gone, and with it what it did
                    return
                if attempt == _ATTEMPTS:
                    self._fail(which, error)
                else:  # also 403: a webhook follows a budget's status within a second
                    await asyncio.sleep(_PAUSE_S * attempt)

    async def _patch(self, path: ApiPath, body: dict[str, object]) -> None:
        await self._client.request("PATCH", path, body, {"fieldManager": FIELD_MANAGER}, MERGE_PATCH)

    async def _list(self, path: ApiPath, params: dict[str, str] | None = None) -> AsyncIterator[JsonObject]:
        try:
            async for item in self._client.list(path, params):
                yield item
        except KubeError as error:
            # 404: no such kind here, so nothing to release.
            if error.status != 404 or isinstance(error, ImpossibleName):
                self._fail(str(path), error)

    def _tell(self, which: str, what: str) -> None:
        self.done += 1
        self._say(f"{which}: {what}{' (dry run)' if self._dry_run else ''}")

    def _fail(self, which: str, error: KubeError) -> None:
        self.failed += 1
        self._say(f"{which}: not released: {error.reason}")
