"""Finds the owners of pods' controllers, up to the workload that people know: the Deployment of a ReplicaSet.

Booking does not wait for it. Until the owner is found, a pod counts for its controller; then the hours in which it ran
are valued again. If a controller is deleted before it is read, its pods keep counting for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from carbonbudget_core.jsons import JsonObject, at, objects, text
from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.api_path import ApiPath, is_label, is_subdomain
from carbonbudget_operator.kube.client import METADATA, KubeClient, KubeError
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.workload_owners import WorkloadOwner, known_owners, store_owners
from carbonbudget_operator.name_rules import is_owner

_log = logging.getLogger(__name__)

# Kinds of controllers that have owners, and their resources. The setting server.owners adds more.
RESOURCES: Final = {"ReplicaSet": "apps/v1/replicasets", "Job": "batch/v1/jobs"}
_MAX_QUEUED = 50_000
_MAX_KNOWN = 500_000
_BATCH = 2_000
_AT_ONCE = 8
_LIST_ABOVE = 200  # more of one kind are read as a list
_LIST_AGAIN_SECONDS = 60.0
_MAX_STEPS = 5


@dataclass(slots=True)
class _Wanted:
    namespace: str
    start: WorkloadOwner
    hours: set[int] = field(default_factory=set)


class OwnerResolver:
    """Queues controllers of reports and stores their owners in the ledger."""

    def __init__(self, engine: sa.Engine, client: KubeClient, more: Mapping[str, str]) -> None:
        self._engine, self._client = engine, client
        self._resources = {**RESOURCES, **more}
        self._queue: dict[str, _Wanted] = {}
        self._known: set[str] = set()
        self._refused: set[str] = set()
        self._list_again: dict[str, float] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def see(self, report: NodeReport) -> None:
        """Queue the controllers of a stored report whose owners are not known yet."""
        hour = report.window_start - report.window_start % HOUR
        for pod in report.pods:
            controller = pod.controller
            if controller is None or controller.uid in self._known or controller.kind not in self._resources:
                continue
            if not (is_subdomain(controller.name) and is_label(pod.namespace)):
                continue  # no object can have this name
            wanted = self._queue.get(controller.uid)
            if wanted is None:
                if len(self._queue) >= _MAX_QUEUED:
                    continue  # its next report queues it again
                wanted = self._queue[controller.uid] = _Wanted(
                    pod.namespace, WorkloadOwner(controller.kind, controller.name, controller.uid)
                )
            wanted.hours.add(hour)

    async def step(self) -> int:
        """Find and store the owners of up to 2,000 queued controllers, and return how many were found."""
        batch = {uid: self._queue[uid] for uid in list(self._queue)[:_BATCH]}
        if not batch:
            return 0
        done = await asyncio.to_thread(known_owners, self._engine, batch)
        wanted = {uid: item for uid, item in batch.items() if uid not in done}
        read = await self._lists(wanted)
        answers = await asyncio.gather(*(self._find(item, read) for item in wanted.values()))
        found: dict[str, WorkloadOwner] = {}
        for (uid, item), owner in zip(wanted.items(), answers, strict=True):
            if owner is None:
                continue  # the API server did not answer: retry in the next round
            done.add(uid)
            if owner != item.start:
                found[uid] = owner
        if found:
            hours = {hour for uid in found for hour in wanted[uid].hours}
            await asyncio.to_thread(store_owners, self._engine, found, hours)
        for uid in done:
            del self._queue[uid]
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()  # limits the memory; the ledger has them
        self._known |= done
        return len(found)

    async def _find(self, wanted: _Wanted, read: Mapping[str, WorkloadOwner | None]) -> WorkloadOwner | None:
        """The topmost owner that can be read, or the controller itself. None if the API server did not answer."""
        owner = wanted.start
        for _ in range(_MAX_STEPS):
            try:
                above = await self._above(wanted.namespace, owner, read)
            except KubeError as error:
                if error.status in (0, 429) or error.status >= 500:
                    return None
                if error.status != 404:
                    self._refuse(owner.kind, error.reason)
                return owner
            if above is None:
                return owner
            owner = above
        return owner

    async def _above(
        self, namespace: str, owner: WorkloadOwner, read: Mapping[str, WorkloadOwner | None]
    ) -> WorkloadOwner | None:
        """The controller of an object; None if it has none, or another object has its name now."""
        resource = self._resources.get(owner.kind)
        if resource is None or owner.kind in self._refused:
            return None
        if owner.uid in read:
            return read[owner.uid]
        path = _path_of(resource).at(namespace, owner.name)
        async with self._slots:
            metadata = at(await self._client.request("GET", path, accept=METADATA), "metadata")
        return _controller_of(metadata) if metadata.get("uid") == owner.uid else None

    async def _lists(self, wanted: Mapping[str, _Wanted]) -> dict[str, WorkloadOwner | None]:
        """Controllers by uid, of the kinds of which more than 200 are wanted: one list is cheaper then.

        A list has every object of the cluster with its managedFields: 50,000 ReplicaSets take 800 MiB. So what is kept
        is the controller alone, and only of the uids that are wanted.
        """
        read: dict[str, WorkloadOwner | None] = {}
        for kind, number in sorted(Counter(item.start.kind for item in wanted.values()).items()):
            now = time.monotonic()
            if number <= _LIST_ABOVE or kind in self._refused or now < self._list_again.get(kind, 0.0):
                continue
            self._list_again[kind] = now + _LIST_AGAIN_SECONDS
            try:
                async for item in self._client.list(_path_of(self._resources[kind]), metadata_only=True):
                    metadata = at(item, "metadata")
                    uid = text(metadata.get("uid"))
                    if uid in wanted:
                        read[uid] = _controller_of(metadata)
            except KubeError as error:
                if 400 <= error.status < 500 and error.status != 429:
                    self._refuse(kind, error.reason)
        return read

    def _refuse(self, kind: str, reason: str) -> None:
        """Stop reading a kind, and log it once. The usual reason is a missing right."""
        if kind not in self._refused:
            _log.warning("owners of %s cannot be read and are not read again until a restart: %s", kind, reason)
        self._refused.add(kind)


def _path_of(resource: str) -> ApiPath:
    """The path of a resource in the form of `RESOURCES` and server.owners: apps/v1/replicasets."""
    version, _, plural = resource.rpartition("/")
    return ApiPath.of_version(version, plural)


def _controller_of(metadata: JsonObject) -> WorkloadOwner | None:
    """The controller among an object's ownerReferences; None if it has none."""
    for reference in objects(metadata.get("ownerReferences")):
        if reference.get("controller") is True:
            return _owner(reference)
    return None


def _owner(reference: JsonObject) -> WorkloadOwner | None:
    """The owner of an ownerReference; None if its text is not valid, as a tenant may have written it."""
    kind, name, uid = (str(reference.get(field)) for field in ("kind", "name", "uid"))
    return WorkloadOwner(kind, name, uid) if is_owner(kind, name, uid) else None
