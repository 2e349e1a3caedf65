"""GET /api/v1/nodes, /api/v1/external and /api/v1/reports: for those who may get carbonbudgets in all namespaces."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from carbonbudget_operator.api.external_bodies import ExternalAnswer
from carbonbudget_operator.api.node_bodies import NodesAnswer
from carbonbudget_operator.api.report_bodies import ClosedReportText, PeriodReport, ReportsAnswer
from carbonbudget_operator.api.wire_names import MEDIA_TYPES
from carbonbudget_operator.server.public.public_parameters import (
    NOT_FOUND,
    Cursor,
    FormatName,
    FromText,
    RowLimit,
    ToText,
    WindowText,
    json_of,
    rows_of,
    versions_of,
    window_of,
)
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

MAX_NODES = 1_000  # their facts are added up for each page
Period = Annotated[str, Path(max_length=32, description="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15")]


def add_cluster_routes(router: APIRouter, asking: QueryHandling, known: Any) -> None:
    """Add them to the router of /api/v1; `known` is the dependency that gives the caller."""

    @router.get("/nodes", responses=rows_of(NodesAnswer), summary="Energy and reported time of each node")
    async def nodes(
        request: Request,
        window: WindowText = "",
        start: FromText = "",
        end: ToText = "",
        limit: Annotated[int, Query(ge=1, le=MAX_NODES, description="Nodes of a page")] = MAX_NODES,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        first, last = window_of(window, start, end, int(asking.now()))
        await asker.authorize({EVERY_NAMESPACE})
        given = {"start": first, "end": last, "limit": limit, "cursor": cursor, "format": form}
        return await asker.answer_tagged("nodes", given, versions_of(request), MEDIA_TYPES[form])

    @router.get("/external", responses=rows_of(ExternalAnswer), summary="Sums of imported figures that others measured")
    async def external(
        request: Request,
        window: WindowText = "",
        start: FromText = "",
        end: ToText = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        first, last = window_of(window, start, end, int(asking.now()))
        await asker.authorize({EVERY_NAMESPACE})
        given = {"start": first, "end": last, "format": form}
        return await asker.answer_tagged("external_sums", given, versions_of(request), MEDIA_TYPES[form])

    @router.get("/reports", responses=rows_of(ReportsAnswer), summary="Closed reports and their hashes")
    async def reports(
        request: Request,
        limit: RowLimit = 10_000,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        await asker.authorize({EVERY_NAMESPACE})
        given = {"limit": limit, "cursor": cursor, "format": form}
        return await asker.answer_tagged("reports", given, versions_of(request), MEDIA_TYPES[form])

    @router.get("/reports/{period}", responses=json_of(PeriodReport), summary="The report of a period, as of now")
    async def report(request: Request, period: Period, asker: QueryCaller = known) -> Response:
        await asker.authorize({EVERY_NAMESPACE})
        given = {"period": period, "start": 0, "end": 0}
        return await asker.answer_tagged("report", given, versions_of(request), MEDIA_TYPES["json"], long=True)

    @router.get(
        "/reports/{period}/closed",
        responses=json_of(ClosedReportText) | NOT_FOUND,
        summary="The report of a period as it was closed, with its hash",
    )
    async def closed(request: Request, period: Period, asker: QueryCaller = known) -> Response:
        await asker.authorize({EVERY_NAMESPACE})
        return await asker.answer_tagged("closed", {"period": period}, versions_of(request), MEDIA_TYPES["json"])
