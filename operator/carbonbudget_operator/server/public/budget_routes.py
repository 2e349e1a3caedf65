"""GET /api/v1/budgets and /api/v1/clusterbudgets: each budget for those who may get it in the API server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from carbonbudget_operator.api.budget_bodies import (
    BudgetDetail,
    BudgetHistory,
    BudgetsAnswer,
    BudgetSeries,
    BudgetState,
    BudgetSummary,
    FormerBudgetPeriod,
)
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET, MEDIA_TYPES, Resource
from carbonbudget_operator.kube.client import JsonObject
from carbonbudget_operator.server.public.budget_api_rows import budget_detail, history_rows, parse_budget
from carbonbudget_operator.server.public.budget_series import series_question
from carbonbudget_operator.server.public.listed_objects import ListedBudgets
from carbonbudget_operator.server.public.public_parameters import (
    NOT_FOUND,
    Cursor,
    FormatName,
    json_of,
    rows_of,
    versions_of,
)
from carbonbudget_operator.server.public.readable_objects import (
    MAX_OBJECTS,
    NamespaceName,
    ObjectName,
    ReadableObjects,
    respond_object,
    respond_rows,
)
from carbonbudget_operator.server.public.row_formats import Format
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling

SeriesStep = Literal["hour", "day"]


def add_budget_routes(router: APIRouter, asking: QueryHandling, known: Any, budgets: ListedBudgets) -> None:
    """Add them to the router of /api/v1; `known` is the dependency that gives the caller."""
    readable = ReadableObjects(asking, budgets)

    @router.get("/budgets", responses=rows_of(BudgetsAnswer), summary="Budgets of both kinds, and how they stand")
    async def listed(
        request: Request,
        namespace: Annotated[str, Query(max_length=63, description="CarbonBudgets of this namespace alone")] = "",
        state: Annotated[BudgetState | None, Query(description="Those in this state alone")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_OBJECTS, description="Rows of a page")] = 1_000,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        page, following = await readable.page(
            asker, namespace, lambda row: state in (None, row["state"]), cursor, limit
        )
        return respond_rows(request, asker, form, list(BudgetSummary.model_fields), page, {"next": following})

    @router.get(
        "/budgets/{namespace}/{name}",
        responses=json_of(BudgetDetail) | NOT_FOUND,
        summary="One CarbonBudget, with its thresholds, top workloads and conditions",
    )
    async def one(request: Request, namespace: NamespaceName, name: ObjectName, asker: QueryCaller = known) -> Response:
        return _detail(request, asker, BUDGET, await readable.one(asker, BUDGET, namespace, name))

    @router.get(
        "/clusterbudgets/{name}",
        responses=json_of(BudgetDetail) | NOT_FOUND,
        summary="One ClusterCarbonBudget, with its thresholds, top workloads and conditions",
    )
    async def cluster_one(request: Request, name: ObjectName, asker: QueryCaller = known) -> Response:
        return _detail(request, asker, CLUSTER_BUDGET, await readable.one(asker, CLUSTER_BUDGET, "", name))

    @router.get(
        "/budgets/{namespace}/{name}/history",
        responses=rows_of(BudgetHistory) | NOT_FOUND,
        summary="The last 12 periods of a CarbonBudget",
    )
    async def history(
        request: Request,
        namespace: NamespaceName,
        name: ObjectName,
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        return _history(request, asker, form, BUDGET, await readable.one(asker, BUDGET, namespace, name))

    @router.get(
        "/clusterbudgets/{name}/history",
        responses=rows_of(BudgetHistory) | NOT_FOUND,
        summary="The last 12 periods of a ClusterCarbonBudget",
    )
    async def cluster_history(
        request: Request, name: ObjectName, form: FormatName = "json", asker: QueryCaller = known
    ) -> Response:
        return _history(request, asker, form, CLUSTER_BUDGET, await readable.one(asker, CLUSTER_BUDGET, "", name))

    async def _series(
        request: Request, asker: QueryCaller, resource: Resource, body: JsonObject, step: SeriesStep, form: Format
    ) -> Response:
        given = series_question(parse_budget(resource, body), step, int(asking.now())) | {"format": form}
        return await asker.answer_tagged("budget_series", given, versions_of(request), MEDIA_TYPES[form])

    @router.get(
        "/budgets/{namespace}/{name}/series",
        responses=rows_of(BudgetSeries) | NOT_FOUND,
        summary="Use of a CarbonBudget over its present period, with limit, even pace and forecast",
    )
    async def series(
        request: Request,
        namespace: NamespaceName,
        name: ObjectName,
        step: SeriesStep = "day",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        return await _series(request, asker, BUDGET, await readable.one(asker, BUDGET, namespace, name), step, form)

    @router.get(
        "/clusterbudgets/{name}/series",
        responses=rows_of(BudgetSeries) | NOT_FOUND,
        summary="Use of a ClusterCarbonBudget over its present period, with limit, even pace and forecast",
    )
    async def cluster_series(
        request: Request,
        name: ObjectName,
        step: SeriesStep = "day",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        return await _series(
            request, asker, CLUSTER_BUDGET, await readable.one(asker, CLUSTER_BUDGET, "", name), step, form
        )


def _detail(request: Request, asker: QueryCaller, resource: Resource, body: JsonObject) -> Response:
    return respond_object(request, asker, budget_detail(resource, body))


def _history(request: Request, asker: QueryCaller, form: Format, resource: Resource, body: JsonObject) -> Response:
    rows = history_rows(resource, body)
    return respond_rows(request, asker, form, list(FormerBudgetPeriod.model_fields), rows, {})
