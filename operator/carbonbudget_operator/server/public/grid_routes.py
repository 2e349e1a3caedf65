"""GET /api/v1/intensity and /api/v1/factors: for everybody with a valid token, as they are about no namespace."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from carbonbudget_operator.api.grid_bodies import FactorsAnswer, IntensityAnswer
from carbonbudget_operator.api.wire_names import MEDIA_TYPES
from carbonbudget_operator.server.public.public_parameters import (
    Cursor,
    FormatName,
    FromText,
    RowLimit,
    ToText,
    WindowText,
    rows_of,
    versions_of,
    window_of,
)
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling


def add_grid_routes(router: APIRouter, asking: QueryHandling, known: Any) -> None:
    """Add both to the router of /api/v1; `known` is the dependency that gives the caller."""

    @router.get("/intensity", responses=rows_of(IntensityAnswer), summary="Grid intensity by hour, zone and source")
    async def intensity(
        request: Request,
        zone: Annotated[str, Query(max_length=400, description="Zones joined by commas; else those of nodes")] = "",
        window: WindowText = "",
        start: FromText = "",
        end: ToText = "",
        limit: RowLimit = 10_000,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        first, last = window_of(window, start, end, int(asking.now()))
        given = {
            "zone": zone, "start": first, "end": last, "limit": limit, "cursor": cursor, "format": form,
            "wide": asker.wide,
        }  # fmt: skip
        return await asker.answer_tagged("intensity", given, versions_of(request), MEDIA_TYPES[form])

    @router.get("/factors", responses=rows_of(FactorsAnswer), summary="The factors that energy is valued by now")
    async def factors(
        request: Request,
        limit: RowLimit = 10_000,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        given = {"limit": limit, "cursor": cursor, "format": form, "wide": asker.wide}
        return await asker.answer_tagged("factors", given, versions_of(request), MEDIA_TYPES[form])
