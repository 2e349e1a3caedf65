"""The endpoint for energy and emissions by group: GET /v1/allocation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling

_LATEST = 2**40


def allocation_routes(asking: QueryHandling) -> APIRouter:
    """The route of allocations."""
    router, known = APIRouter(), Depends(asking.asker)

    @router.get("/v1/allocation")
    async def allocation(
        start: Annotated[int, Query(alias="from", ge=0, le=_LATEST)],
        end: Annotated[int, Query(alias="to", ge=0, le=_LATEST)],
        group_by: Annotated[str, Query(max_length=1000)] = "namespace",
        filter_by: Annotated[str, Query(alias="filter", max_length=4000)] = "",
        asker: QueryCaller = known,
    ) -> Response:
        if end <= start:
            raise Refusal(422, "unanswerable", "to must be after from")
        # A group's share depends on all pods of its nodes, and the answer has their sum: it needs all namespaces.
        return await asker.answer_all("allocation", start=start, end=end, group_by=group_by, filter=filter_by)

    return router
