"""Which budgets there still are: after 410 Gone kopf lists again, and never tells of those that went meanwhile."""

from __future__ import annotations

import asyncio
import logging

from carbonbudget_operator.api.names import RESOURCES
from carbonbudget_operator.controller.inventory import Inventory
from carbonbudget_operator.kube.client import KubeClient, KubeError

_log = logging.getLogger(__name__)
_EVERY_SECONDS = 300.0


class Census:
    """Lists the metadata of both kinds now and then, and forgets what is not in it."""

    def __init__(self, client: KubeClient, inventory: Inventory, every_seconds: float = _EVERY_SECONDS) -> None:
        self._client, self._inventory, self._every_s = client, inventory, every_seconds

    async def run(self) -> None:
        """For ever; a list that fails forgets nothing."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.take()
            except KubeError as error:
                _log.warning("budgets not compared with the API server's list: %s", error.reason)

    async def take(self) -> None:
        """Compare once. What was seen after the lists began is left alone. Raises KubeError."""
        known = self._inventory.held()
        uids: list[str] = []
        for resource in RESOURCES:
            async for item in self._client.list(resource.collection, metadata_only=True):
                metadata = item.get("metadata")
                uids.append(str(metadata.get("uid", "")) if isinstance(metadata, dict) else "")
        if gone := self._inventory.keep_only(uids, known):
            _log.info("%d budgets are gone whose end the watch had missed", gone)
