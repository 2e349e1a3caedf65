"""The watch of budgets: what the API server has of both kinds, into the inventory.

It is the client's own watch: a list is read in pages, and an object by itself. So budgets of any size and number, which
whoever may create them decides, take no more memory than the inventory keeps.
"""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.api.names import Resource
from carbonbudget_operator.controller.inventory import Inventory
from carbonbudget_operator.kube.client import KubeClient

# Bytes that one object may take once parsed: a budget with the longest selectors and status takes half of it.
_MOST_PARSED: Final = 4 * 2**20


async def follow(client: KubeClient, resource: Resource, inventory: Inventory) -> None:
    """For ever. After each list, what was not in it is gone: its end was missed."""
    before = inventory.held()
    seen: set[str] = set()
    async for event, body in client.watch(resource.collection, most_parsed=_MOST_PARSED):
        if event == "LISTING":
            before, seen = inventory.held(), set()
        elif event == "LISTED":
            inventory.keep_only(seen, {key: held for key, held in before.items() if held.resource is resource})
        elif body is not None:
            seen.add(inventory.seen(resource, event, body))
