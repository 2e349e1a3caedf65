"""The watch audit: a periodic list of all budgets that finds changes which kopf's watch missed.

After 410 Gone kopf lists again and reports no deletion that happened meanwhile. It does not report bookmarks either, so
only a comparison shows that the watch still works.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import ExitStack

from carbonbudget_operator.api.wire_names import RESOURCES, Resource
from carbonbudget_operator.controller.budget_store import BudgetStore, StoredBudget
from carbonbudget_operator.kube.client import KubeClient, KubeError

_log = logging.getLogger(__name__)
_EVERY_SECONDS = 120.0  # twice within the 300 s after which a watch is reported as stale
_GRACE_SECONDS = 5.0  # for events that are under way while the lists are made


class WatchAudit:
    """Lists the metadata of both kinds periodically, and removes budgets that are not in the list."""

    def __init__(
        self,
        client: KubeClient,
        store: BudgetStore,
        every_seconds: float = _EVERY_SECONDS,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        self._client, self._store = client, store
        self._every_s, self._grace_s = every_seconds, grace_seconds

    async def run(self) -> None:
        """Runs for ever. A list that fails removes nothing."""
        with ExitStack() as stack:
            of = self._client.watches.of
            watched = {resource: stack.enter_context(of(str(resource.collection))) for resource in RESOURCES}
            while True:
                await asyncio.sleep(self._every_s)
                try:
                    for resource in await self.compare():
                        watched[resource].is_current()
                except KubeError as error:
                    _log.warning("budgets not compared with the API server's list: %s", error.reason)

    async def compare(self) -> list[Resource]:
        """Compare lists with what the watch has shown. Returns the kinds of which it has shown everything.

        Budgets that the watch showed after the lists began are left alone. Raises KubeError.
        """
        known = self._store.snapshot()
        listed = {resource: await self._versions(resource) for resource in RESOURCES}
        if gone := self._store.keep_only([uid for versions in listed.values() for uid in versions], known):
            _log.info("%d budgets were deleted without a watch event", gone)
        if any(self._missed(versions, known) for versions in listed.values()):
            await asyncio.sleep(self._grace_s)
        missed = {resource: self._missed(versions, known) for resource, versions in listed.items()}
        for resource, number in missed.items():
            if number:
                _log.warning("the watch of %s has missed changes of %d objects", resource.plural, number)
        return [resource for resource, number in missed.items() if not number]

    async def _versions(self, resource: Resource) -> dict[str, object]:
        """The version of each object that exists, by uid."""
        found: dict[str, object] = {}
        async for item in self._client.list(resource.collection, metadata_only=True):
            metadata = item.get("metadata")
            if isinstance(metadata, dict):
                found[str(metadata.get("uid", ""))] = metadata.get("resourceVersion")
        return found

    def _missed(self, versions: Mapping[str, object], before: Mapping[str, StoredBudget]) -> int:
        """How many differ from what the watch has shown, without a watch event since `before`."""
        stored = {one.uid: one for one in self._store.snapshot().values()}
        previous = {one.uid: one for one in before.values()}
        still = {uid: stored.get(uid) for uid in versions if stored.get(uid) is previous.get(uid)}
        return sum(one is None or one.metadata.get("resourceVersion") != versions[uid] for uid, one in still.items())
