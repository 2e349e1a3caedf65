"""Which budgets and targets a caller of /api/v1 may be shown.

The right is that of budgets for both: who may get carbonbudgets in a namespace may see its targets, and who may get
clustercarbonbudgets the cluster-wide ones. A target's figures are those of budgets divided by counts, and a read token
is made for namespaces, not for kinds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from fastapi import Path, Request, Response

from carbonbudget_operator.api.wire_names import MEDIA_TYPES, Resource
from carbonbudget_operator.api_path import is_label, is_subdomain
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Caller
from carbonbudget_operator.kube.client import JsonObject
from carbonbudget_operator.server.public.listed_objects import ListedObjects
from carbonbudget_operator.server.public.paging import cut, read_cursor
from carbonbudget_operator.server.public.public_parameters import TOO_MANY_ROWS, versions_of
from carbonbudget_operator.server.public.row_formats import (
    Format,
    Row,
    TooManyRows,
    render,
)
from carbonbudget_operator.server.public.visible_namespaces import VisibleNamespaces
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling, access_answer
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

MAX_OBJECTS = 2_000  # of a page: it is made beside the reports, in some 20 ms
NamespaceName = Annotated[str, Path(max_length=63)]
ObjectName = Annotated[str, Path(max_length=253)]


class ReadableObjects:
    """Finds the objects of two kinds, the first of them in namespaces, that a caller may get."""

    def __init__(self, asking: QueryHandling, objects: ListedObjects) -> None:
        self._asking, self._objects = asking, objects
        self._visible = VisibleNamespaces(asking.access, objects.namespaces, "namespace=team-a")

    async def page(
        self, asker: QueryCaller, namespace: str, wanted: Callable[[Row], bool], cursor: str, limit: int
    ) -> tuple[list[Row], str | None]:
        """A page of rows, and the cursor of the next one. `namespace` is the only one, if given. Raises Refusal."""
        after = read_cursor(cursor, (str, str, str))
        readable = await self._namespaces(asker, namespace)
        clusterwide = not namespace and await self._may_read_clusterwide(asker)
        rows = (
            (place, row)
            for place, row in (await self._objects.all()).rows
            if (readable is None or place[1] in readable if place[1] else clusterwide)
            and (not namespace or place[1] == namespace)
            and wanted(row)
        )
        page, following = cut(rows, after, limit)
        return list(page), following

    async def _namespaces(self, asker: QueryCaller, namespace: str) -> frozenset[str] | None:
        """Namespaces whose objects the caller may get; None for all. Raises Refusal."""
        if asker.wide:
            return None
        if not namespace:
            return frozenset(await self._visible.of(asker.caller))
        await asker.authorize({namespace})
        return frozenset({namespace})

    async def _may_read_clusterwide(self, asker: QueryCaller) -> bool:
        return await access_answer(self._asking.access.may_read_cluster_budgets(asker.caller))

    async def one(self, asker: QueryCaller, resource: Resource, namespace: str, name: str) -> JsonObject:
        """The object. Raises Refusal, 404 also where the caller may not get it.

        The refusal then names the missing right, and is the same whether the object exists or not.
        """
        where = f"{namespace}/{name}" if namespace else name
        if not is_subdomain(name) or (resource.namespaced and not is_label(namespace)):
            raise Refusal(404, "unknown", f"there is no {resource.kind} {where}")
        if not resource.namespaced:
            may = await self._may_read_clusterwide(asker)
        else:
            may = asker.wide or await access_answer(self._asking.access.may_read_budgets(asker.caller, namespace))
        if not may:
            reason = _missing_right(asker.caller, namespace)
            raise Refusal(404, "unknown", f"{resource.kind} {where} is not shown: {reason}")
        found = await self._objects.one(resource, namespace, name)
        if found is None:
            other = "" if resource.namespaced else f"; one of a namespace is NAMESPACE/{name}"
            raise Refusal(404, "unknown", f"there is no {resource.kind} {where}{other}")
        return found


def _missing_right(caller: Caller, namespace: str) -> str:
    """Why a caller may not be shown an object of this namespace; empty: an object of no namespace."""
    if namespace or caller.is_restricted_from(EVERY_NAMESPACE):
        return caller.missing_right([namespace or EVERY_NAMESPACE])
    return f"{caller.right_holder} may not get clustercarbonbudgets"


def respond_object(request: Request, asker: QueryCaller, detail: Mapping[str, object]) -> Response:
    """One object as JSON, with its tag."""
    return asker.respond_tagged(json.dumps(detail).encode(), versions_of(request), MEDIA_TYPES["json"])


def respond_rows(
    request: Request,
    asker: QueryCaller,
    form: Format,
    columns: Sequence[str],
    rows: Sequence[Row],
    around: Mapping[str, object],
) -> Response:
    """Rows in that format, with their tag. Raises Refusal."""
    try:
        answer = render(form, columns, rows, around)
    except TooManyRows:
        raise Refusal(422, "unanswerable", TOO_MANY_ROWS) from None
    return asker.respond_tagged(answer, versions_of(request), MEDIA_TYPES[form])
