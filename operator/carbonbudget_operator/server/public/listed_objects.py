"""The lists of budgets and of targets behind /api/v1, read by the server's own account when somebody asks.

A watch would keep all of them in memory for a page that is opened a few times a day. Only flat rows are kept, and for
as long as they are fresh: owners of objects control their size.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import RESOURCES, TARGETS, Resource
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.client import JsonObject, KubeClient, KubeError
from carbonbudget_operator.server.public.budget_api_rows import budget_row
from carbonbudget_operator.server.public.row_formats import Cell
from carbonbudget_operator.server.public.target_api_rows import target_row

FRESH_SECONDS: Final = 10.0
_PAGE: Final = 500
_AT_A_TIME: Final = 50  # rows, 0.1 ms each; then reports and probes have their turn
_MAX_SINGLE: Final = 64  # objects in memory, of half a megabyte at most by the CRDs' bounds
_LIST_SECONDS: Final = 20
_AT_ONCE: Final = 4  # lists of single objects; the connections to the API server are shared with the agents' reviews

Place = tuple[str, str, str]  # kind, namespace, name
Cells = dict[str, Cell]
MakeRow = Callable[[Resource, Mapping[str, object]], Cells]


@dataclass(frozen=True, slots=True)
class ObjectList:
    """All objects at one instant, in order of their places, and the namespaces that have any."""

    rows: Sequence[tuple[Place, Cells]]
    namespaces: frozenset[str]


class ListedObjects:
    """Lists objects of two kinds at most every 10 seconds for all callers together.

    One event loop, so no lock but against doubles.

    Who may see what is the caller's affair.
    """

    def __init__(self, client: KubeClient, resources: Sequence[Resource], make_row: MakeRow) -> None:
        """`make_row` makes a row, with the keys `namespace` and `name`, of an object."""
        self._client, self.resources, self._make_row = client, resources, make_row
        self._listing = asyncio.Lock()
        self._singles = asyncio.Semaphore(_AT_ONCE)
        self._list: tuple[ObjectList, float] | None = None
        self._single: OrderedDict[Place, tuple[JsonObject | None, float]] = OrderedDict()
        self._single_locks: dict[Place, asyncio.Lock] = {}

    async def all(self) -> ObjectList:
        """Both kinds in all namespaces. Raises Refusal 503."""
        async with self._listing:
            if self._list is None or time.monotonic() >= self._list[1]:
                self._list = None  # frees its memory before the next one is made
                found = await self._read_all()
                self._list = found, time.monotonic() + FRESH_SECONDS
                asyncio.get_running_loop().call_later(2 * FRESH_SECONDS, self._forget, found)
            return self._list[0]

    async def namespaces(self) -> Collection[str]:
        """The namespaces that have an object of the namespaced kind. Raises Refusal 503."""
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

    def _forget(self, found: ObjectList) -> None:
        if self._list is not None and self._list[0] is found:
            self._list = None

    async def _read_all(self) -> ObjectList:
        rows: list[tuple[Place, Cells]] = []
        for resource in self.resources:
            async with _answered(resource):
                async for item in self._client.list(resource.collection, page=_PAGE):
                    row = self._make_row(resource, item)
                    rows.append(((resource.kind, str(row["namespace"] or ""), str(row["name"])), row))
                    if len(rows) % _AT_A_TIME == 0:
                        await asyncio.sleep(0)
        rows.sort(key=lambda pair: pair[0])
        return ObjectList(rows, frozenset(place[1] for place, _ in rows if place[1]))

    async def _read_one(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        selected = {"fieldSelector": f"metadata.name={name}"}
        async with _answered(resource):
            async for item in self._client.list(resource.path(namespace), selected):
                if at(item, "metadata").get("name") == name:
                    return item
        return None


class ListedBudgets(ListedObjects):
    """Lists budgets of both kinds."""

    def __init__(self, client: KubeClient) -> None:
        super().__init__(client, RESOURCES, budget_row)


class ListedTargets(ListedObjects):
    """Lists targets of both kinds."""

    def __init__(self, client: KubeClient) -> None:
        super().__init__(client, TARGETS, target_row)


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
