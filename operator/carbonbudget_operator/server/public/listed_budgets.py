"""The budgets of the cluster, listed by the server's own account when somebody asks.

A watch would keep all budgets in memory for a page that is opened a few times a day. Only flat rows are kept, and for
as long as they are fresh: owners of budgets control the size of the objects.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import BUDGET, RESOURCES, Resource
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.client import JsonObject, KubeClient, KubeError
from carbonbudget_operator.server.public.budget_rows import BudgetCells, budget_row

FRESH_SECONDS: Final = 10.0
_PAGE: Final = 500
_MAX_SINGLE: Final = 64  # objects in memory, of half a megabyte at most by the CRDs' bounds
_LIST_SECONDS: Final = 20
_AT_ONCE: Final = 4  # lists of single budgets; the connections to the API server are shared with the agents' reviews

Place = tuple[str, str, str]  # kind, namespace, name


@dataclass(frozen=True, slots=True)
class BudgetList:
    """All budgets at one instant, in order of their places, and the namespaces that have any."""

    rows: Sequence[tuple[Place, BudgetCells]]
    namespaces: frozenset[str]


class ListedBudgets:
    """Lists budgets at most every 10 seconds for all callers together. One event loop, so no lock but against doubles.

    Who may see what is the caller's affair.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._listing = asyncio.Lock()
        self._singles = asyncio.Semaphore(_AT_ONCE)
        self._list: tuple[BudgetList, float] | None = None
        self._single: OrderedDict[Place, tuple[JsonObject | None, float]] = OrderedDict()
        self._single_locks: dict[Place, asyncio.Lock] = {}

    async def all(self) -> BudgetList:
        """Both kinds in all namespaces. Raises Refusal 503."""
        async with self._listing:
            if self._list is None or time.monotonic() >= self._list[1]:
                self._list = None  # frees its memory before the next one is made
                found = await self._read_all()
                self._list = found, time.monotonic() + FRESH_SECONDS
                asyncio.get_running_loop().call_later(2 * FRESH_SECONDS, self._forget, found)
            return self._list[0]

    async def namespaces(self) -> Collection[str]:
        """Those that have a CarbonBudget. Raises Refusal 503."""
        return (await self.all()).namespaces

    async def one(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        """One object, None if it does not exist. Raises Refusal 503.

        It is listed by its name, so that the server needs no other right than `list`.
        """
        place = (resource.kind, namespace, name)
        lock = self._single_locks.setdefault(place, asyncio.Lock())
        async with lock:
            try:
                found, until = self._single.get(place, (None, 0.0))
                if time.monotonic() < until:
                    return found
                async with self._singles:
                    found = await self._read_one(resource, namespace, name)
                self._single[place] = found, time.monotonic() + FRESH_SECONDS
                self._single.move_to_end(place)
                while len(self._single) > _MAX_SINGLE:
                    self._single.popitem(last=False)
                return found
            finally:
                self._single_locks.pop(place, None)

    def _forget(self, found: BudgetList) -> None:
        if self._list is not None and self._list[0] is found:
            self._list = None

    async def _read_all(self) -> BudgetList:
        rows: list[tuple[Place, BudgetCells]] = []
        for resource in RESOURCES:
            async with _answered(resource):
                async for item in self._client.list(resource.collection, page=_PAGE):
                    row = budget_row(resource, item)
                    rows.append(((resource.kind, str(row["namespace"] or ""), str(row["name"])), row))
        rows.sort(key=lambda pair: pair[0])
        return BudgetList(rows, frozenset(place[1] for place, _ in rows if place[0] == BUDGET.kind))

    async def _read_one(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        selected = {"fieldSelector": f"metadata.name={name}"}
        async with _answered(resource):
            async for item in self._client.list(resource.path(namespace), selected):
                if at(item, "metadata").get("name") == name:
                    return item
        return None


@asynccontextmanager
async def _answered(resource: Resource) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_LIST_SECONDS):
            yield
    except TimeoutError:
        reason = f"the API server did not list {resource.plural} within {_LIST_SECONDS} s: try again"
    except KubeError as error:
        reason = f"the API server did not list {resource.plural} for the server: {error.reason}"
    else:
        return
    raise Refusal(503, "api_server", reason, 5)
