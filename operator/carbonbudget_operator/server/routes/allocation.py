"""Who used what: GET /v1/allocation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling

_LATEST = 2**40


def allocation_routes(asking: QueryHandling) -> APIRouter:
    """The one."""
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
        # A share depends on everybody else on the node, and the rest shows as a row: all namespaces.
        return await asker.answer_all("allocation", start=start, end=end, group_by=group_by, filter=filter_by)

    return router
