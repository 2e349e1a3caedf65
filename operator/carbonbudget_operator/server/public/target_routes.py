"""GET /api/v1/targets and /api/v1/clustertargets: each target for those who may get budgets where it is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from carbonbudget_operator.api.target_bodies import (
    FormerTargetWindow,
    TargetDetail,
    TargetHistory,
    TargetsAnswer,
    TargetSummary,
)
from carbonbudget_operator.api.target_status import TargetStateName
from carbonbudget_operator.api.wire_names import CLUSTER_TARGET, TARGET
from carbonbudget_operator.server.public.listed_objects import ListedTargets
from carbonbudget_operator.server.public.public_parameters import NOT_FOUND, Cursor, FormatName, json_of, rows_of
from carbonbudget_operator.server.public.readable_objects import (
    MAX_OBJECTS,
    NamespaceName,
    ObjectName,
    ReadableObjects,
    respond_object,
    respond_rows,
)
from carbonbudget_operator.server.public.target_api_rows import former_windows, target_detail
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling


def add_target_routes(router: APIRouter, asking: QueryHandling, known: Any, targets: ListedTargets) -> None:
    """Add them to the router of /api/v1; `known` is the dependency that gives the caller."""
    readable = ReadableObjects(asking, targets)

    @router.get("/targets", responses=rows_of(TargetsAnswer), summary="Targets of both kinds, and how they stand")
    async def listed(
        request: Request,
        namespace: Annotated[str, Query(max_length=63, description="CarbonTargets of this namespace alone")] = "",
        state: Annotated[TargetStateName | None, Query(description="Those in this state alone")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_OBJECTS, description="Rows of a page")] = 1_000,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        page, following = await readable.page(
            asker, namespace, lambda row: state in (None, row["state"]), cursor, limit
        )
        return respond_rows(request, asker, form, list(TargetSummary.model_fields), page, {"next": following})

    @router.get(
        "/targets/{namespace}/{name}",
        responses=json_of(TargetDetail) | NOT_FOUND,
        summary="One CarbonTarget, with its baseline, source and conditions",
    )
    async def one(request: Request, namespace: NamespaceName, name: ObjectName, asker: QueryCaller = known) -> Response:
        found = await readable.one(asker, TARGET, namespace, name)
        return respond_object(request, asker, target_detail(TARGET, found))

    @router.get(
        "/clustertargets/{name}",
        responses=json_of(TargetDetail) | NOT_FOUND,
        summary="One ClusterCarbonTarget, with its baseline, source and conditions",
    )
    async def cluster_one(request: Request, name: ObjectName, asker: QueryCaller = known) -> Response:
        found = await readable.one(asker, CLUSTER_TARGET, "", name)
        return respond_object(request, asker, target_detail(CLUSTER_TARGET, found))

    @router.get(
        "/targets/{namespace}/{name}/history",
        responses=rows_of(TargetHistory) | NOT_FOUND,
        summary="The last 12 calendar windows of a CarbonTarget",
    )
    async def history(
        request: Request,
        namespace: NamespaceName,
        name: ObjectName,
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        rows = former_windows(TARGET, await readable.one(asker, TARGET, namespace, name))
        return respond_rows(request, asker, form, list(FormerTargetWindow.model_fields), rows, {})

    @router.get(
        "/clustertargets/{name}/history",
        responses=rows_of(TargetHistory) | NOT_FOUND,
        summary="The last 12 calendar windows of a ClusterCarbonTarget",
    )
    async def cluster_history(
        request: Request, name: ObjectName, form: FormatName = "json", asker: QueryCaller = known
    ) -> Response:
        rows = former_windows(CLUSTER_TARGET, await readable.one(asker, CLUSTER_TARGET, "", name))
        return respond_rows(request, asker, form, list(FormerTargetWindow.model_fields), rows, {})
