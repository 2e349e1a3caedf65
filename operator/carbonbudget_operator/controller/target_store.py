"""The targets that two watches have shown, by key, and an event that is set when a spec changes.

As for budgets, only the used fields are stored and the targets of one namespace have a limit in bytes. Targets have
watches of their own beside kopf's: a cluster without these CRDs, or a fault with them, leaves budgets as they are.
"""

from __future__ import annotations

import asyncio
import logging
from functools import cached_property
from typing import Final

from carbonbudget_operator.api.carbontarget import AnyTarget, CarbonTarget, ClusterCarbonTarget
from carbonbudget_operator.api.wire_names import TARGETS, Resource
from carbonbudget_operator.controller.budget_store import StoredObject
from carbonbudget_operator.controller.object_trimming import (
    MOST_OF_A_BUDGET,
    MOST_OF_A_NAMESPACE,
    Body,
    trimmed,
    without_spec,
)
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.watch_restart import keep_following

TARGETS_CROWDED: Final = (
    f"the targets of this namespace are together larger than the limit of {MOST_OF_A_NAMESPACE // 2**20} MiB: delete "
    "some, or make their selectors shorter, then change this one"
)
TARGET_TOO_LARGE: Final = "the target is too large to be evaluated: make its selectors shorter"
_MOST_PARSED: Final = 16 * MOST_OF_A_BUDGET

_log = logging.getLogger(__name__)


class StoredTarget(StoredObject):
    """A target of either kind."""

    @cached_property
    def target_object(self) -> AnyTarget:
        """The body as a typed object, parsed once for each change. Raises pydantic's ValidationError."""
        model = CarbonTarget if self.resource.namespaced else ClusterCarbonTarget
        return model.model_validate(self.body)


class TargetStore:
    """Filled by `follow`, read by the target loop; one event loop, so no lock."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredTarget] = {}
        self._bytes: dict[str, int] = {}  # of specs and statuses, by key
        self._sums: dict[str, int] = {}  # the same, by namespace
        self._listed: set[str] = set()
        self.changed = asyncio.Event()

    async def run(self, client: KubeClient) -> None:
        """Watch both kinds until cancelled. A watch that fails is counted, and begins again."""
        async with asyncio.TaskGroup() as group:
            for resource in TARGETS:
                group.create_task(self._keep_following(client, resource), name=f"watch-{resource.plural}")

    async def _keep_following(self, client: KubeClient, resource: Resource) -> None:
        await keep_following(client, resource.collection, lambda: self.follow(client, resource))

    async def follow(self, client: KubeClient, resource: Resource) -> None:
        """Watch one kind. Targets that a new list lacks are removed: their deletion was missed."""
        listing: set[str] = set()
        async for event, body in client.watch(resource.collection, most_parsed=_MOST_PARSED):
            if event == "LISTING":
                listing.clear()
            elif body is None:
                for stored in [one for one in self._stored.values() if one.resource == resource]:
                    if stored.uid not in listing:
                        self.forget(stored.key, stored.uid)
                self._listed.add(resource.plural)
            else:
                listing.add(self.seen(resource, event, body))

    def seen(self, resource: Resource, event: str, body: Body) -> str:
        """Take one watch event; returns the object's uid. A new generation sets `changed`, our own writes do not."""
        used, size = trimmed(body)
        stored = StoredTarget(resource, used)
        if event == "DELETED":
            self.forget(stored.key, stored.uid)
            return stored.uid
        if stored.missing_spec_reason:
            stored = StoredTarget(resource, without_spec(used, TARGET_TOO_LARGE))
        previous = self._stored.get(stored.key)
        self._count(stored, 0)
        if stored.namespace and self._sums.get(stored.namespace, 0) + size > MOST_OF_A_NAMESPACE:
            if previous is None or not previous.missing_spec_reason:
                _log.warning("%s is not evaluated: %s", stored.key, TARGETS_CROWDED)
            stored = StoredTarget(resource, without_spec(used, TARGETS_CROWDED))
        else:
            self._count(stored, size)
        self._stored[stored.key] = stored
        if previous is None or previous.version != stored.version:
            self.changed.set()
        return stored.uid

    def _count(self, stored: StoredTarget, size: int) -> None:
        """Set how many bytes of this object are stored."""
        left = self._sums.pop(stored.namespace, 0) + size - self._bytes.pop(stored.key, 0)
        if size:
            self._bytes[stored.key] = size
        if left:
            self._sums[stored.namespace] = left

    def forget(self, key: str, uid: str) -> None:
        """Remove an object that was deleted, by the watch or because a write found it missing."""
        if key in self._stored and self._stored[key].uid == uid:
            self._count(self._stored.pop(key), 0)

    def listed(self) -> bool:
        """Whether both kinds have been listed once."""
        return len(self._listed) == len(TARGETS)

    def body(self, key: str) -> Body | None:
        """The object of a key, namespace/name or /name."""
        stored = self._stored.get(key)
        return stored.body if stored is not None else None

    def snapshot(self) -> dict[str, StoredTarget]:
        """A snapshot by key."""
        return dict(self._stored)
