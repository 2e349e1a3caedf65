"""Who used what: GET /v1/allocation."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.reporting.grouping import (
    GroupingError,
    answer,
    group,
    needs_nodes,
    parse_filter,
    parse_group_by,
)
from carbonbudget_operator.reporting.query import Queries
from carbonbudget_operator.reporting.routes.asking import EVERY_NAMESPACE, Asking

_LATEST = 2**40


def allocation_routes(asking: Asking, queries: Queries) -> APIRouter:
    """The one."""
    router = APIRouter()

    @router.get("/v1/allocation")
    async def allocation(
        request: Request,
        start: Annotated[int, Query(alias="from", ge=0, le=_LATEST)],
        end: Annotated[int, Query(alias="to", ge=0, le=_LATEST)],
        group_by: Annotated[str, Query(max_length=1000)] = "namespace",
        filter_by: Annotated[str, Query(alias="filter", max_length=4000)] = "",
    ) -> JSONResponse:
        caller = await asking.caller(request)
        # A share depends on everybody else on the node, and the rest shows as a row: all namespaces.
        await asking.authorize(caller, {EVERY_NAMESPACE})
        try:
            fields, filters = parse_group_by(group_by), parse_filter(filter_by)
        except GroupingError as error:
            raise Refusal(400, "malformed", str(error)) from None

        def rows() -> dict[str, object]:
            return answer(group(queries.rows(start, end, needs_nodes(fields, filters)), fields, filters))

        with asking.timed("/v1/allocation"):
            return JSONResponse(await asyncio.to_thread(rows))

    return router
