"""Finds the owners of the controllers that reports name, up to the workload that people know.

Reports come first and never wait: until its owner is found a pod counts under its controller, and the hours in
which it ran are valued again then. A controller that is gone before it was asked for keeps its own name.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from carbonbudget_core.jsons import JsonObject, at, objects
from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.api_path import ApiPath, is_label, is_subdomain
from carbonbudget_operator.kube.client import METADATA, KubeClient, KubeError
from carbonbudget_operator.ledger.slices import HOUR
from carbonbudget_operator.ledger.workload_owners import WorkloadOwner, known_owners, store_owners
from carbonbudget_operator.object_names import is_owner

_log = logging.getLogger(__name__)

# Controllers that have owners, and where they are read. More by configuration: server.owners.
RESOURCES: Final = {"ReplicaSet": "apps/v1/replicasets", "Job": "batch/v1/jobs"}
_MAX_WAITING = 50_000
_MAX_KNOWN = 500_000
_BATCH = 2_000
_AT_ONCE = 8
_LIST_ABOVE = 200  # so many of one kind are read faster as a list
_LIST_AGAIN_SECONDS = 60.0
_MAX_STEPS = 5


@dataclass(slots=True)
class _Wanted:
    namespace: str
    start: WorkloadOwner
    hours: set[int] = field(default_factory=set)


class OwnerResolver:
    """Those that wait, and those that were answered by this process."""

    def __init__(self, engine: sa.Engine, client: KubeClient, more: Mapping[str, str]) -> None:
        self._engine, self._client = engine, client
        self._resources = {**RESOURCES, **more}
        self._waiting: dict[str, _Wanted] = {}
        self._known: set[str] = set()
        self._refused: set[str] = set()
        self._list_again: dict[str, float] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def see(self, report: NodeReport) -> None:
        """A report was stored: its pods' controllers may have owners."""
        hour = report.window_start - report.window_start % HOUR
        for pod in report.pods:
            controller = pod.controller
            if controller is None or controller.uid in self._known or controller.kind not in self._resources:
                continue
            if not (is_subdomain(controller.name) and is_label(pod.namespace)):
                continue  # no object can be named so: not worth a question
            wanted = self._waiting.get(controller.uid)
            if wanted is None:
                if len(self._waiting) >= _MAX_WAITING:
                    continue  # it comes again with its next report
                wanted = self._waiting[controller.uid] = _Wanted(
                    pod.namespace, WorkloadOwner(controller.kind, controller.name, controller.uid)
                )
            wanted.hours.add(hour)

    async def step(self) -> int:
        """Find the owners of those that wait, as many as one round takes; how many were found."""
        batch = {uid: self._waiting[uid] for uid in list(self._waiting)[:_BATCH]}
        if not batch:
            return 0
        done = await asyncio.to_thread(known_owners, self._engine, batch)
        wanted = {uid: item for uid, item in batch.items() if uid not in done}
        read = await self._lists([item.start.kind for item in wanted.values()])
        answers = await asyncio.gather(*(self._find(item, read) for item in wanted.values()))
        found: dict[str, WorkloadOwner] = {}
        for (uid, item), owner in zip(wanted.items(), answers, strict=True):
            if owner is None:
                continue  # the API server did not answer: again in the next round
            done.add(uid)
            if owner != item.start:
                found[uid] = owner
        if found:
            hours = {hour for uid in found for hour in wanted[uid].hours}
            await asyncio.to_thread(store_owners, self._engine, found, hours)
        for uid in done:
            del self._waiting[uid]
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()  # memory stays bounded; they are in the ledger
        self._known |= done
        return len(found)

    async def _find(self, wanted: _Wanted, read: Mapping[str, JsonObject]) -> WorkloadOwner | None:
        """The topmost owner that can be seen, itself if there is none; None if the API server did not answer."""
        owner = wanted.start
        for _ in range(_MAX_STEPS):
            try:
                above = await self._above(wanted.namespace, owner, read)
            except KubeError as error:
                if error.status in (0, 429) or error.status >= 500:
                    return None
                if error.status != 404:
                    self._tell(owner.kind, error.reason)
                return owner
            if above is None:
                return owner
            owner = above
        return owner

    async def _above(
        self, namespace: str, owner: WorkloadOwner, read: Mapping[str, JsonObject]
    ) -> WorkloadOwner | None:
        """An object's controller; None if it has none, or is another one of that name by now."""
        resource = self._resources.get(owner.kind)
        if resource is None or owner.kind in self._refused:
            return None
        metadata = read.get(owner.uid)
        if metadata is None:
            path = _path_of(resource).at(namespace, owner.name)
            async with self._slots:
                metadata = at(await self._client.request("GET", path, accept=METADATA), "metadata")
        if metadata.get("uid") != owner.uid:
            return None
        for reference in objects(metadata.get("ownerReferences")):
            if reference.get("controller") is True:
                return _owner(reference)
        return None

    async def _lists(self, kinds: list[str]) -> dict[str, JsonObject]:
        """Metadata by uid of the kinds that so many wait for that a list is cheaper."""
        read: dict[str, JsonObject] = {}
        for kind in sorted(set(kinds)):
            now = time.monotonic()
            if kinds.count(kind) <= _LIST_ABOVE or kind in self._refused or now < self._list_again.get(kind, 0.0):
                continue
            self._list_again[kind] = now + _LIST_AGAIN_SECONDS
            try:
                async for item in self._client.list(_path_of(self._resources[kind]), metadata_only=True):
                    metadata = at(item, "metadata")
                    read[str(metadata.get("uid"))] = metadata
            except KubeError as error:
                if 400 <= error.status < 500 and error.status != 429:
                    self._tell(kind, error.reason)
        return read

    def _tell(self, kind: str, reason: str) -> None:
        """Once: mostly a right that is missing."""
        if kind not in self._refused:
            _log.warning("owners of %s are not looked up until a restart: %s", kind, reason)
        self._refused.add(kind)


def _path_of(resource: str) -> ApiPath:
    """Of a resource as `RESOURCES` and the setting server.owners write it: apps/v1/replicasets."""
    version, _, plural = resource.rpartition("/")
    return ApiPath.of_version(version, plural)


def _owner(reference: JsonObject) -> WorkloadOwner | None:
    """Whom an ownerReference names; its writer may have written anything."""
    kind, name, uid = (str(reference.get(field)) for field in ("kind", "name", "uid"))
    return WorkloadOwner(kind, name, uid) if is_owner(kind, name, uid) else None
