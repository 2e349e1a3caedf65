"""GET /api/v1/budgets and /api/v1/clusterbudgets: each budget for those who may get it in the API server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from carbonbudget_operator.api.budget_bodies import (
    BudgetDetail,
    BudgetHistory,
    BudgetsAnswer,
    BudgetSeries,
    BudgetState,
    BudgetSummary,
    FormerBudgetPeriod,
)
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET, Resource
from carbonbudget_operator.api_path import is_label, is_subdomain
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.client import JsonObject
from carbonbudget_operator.server.public.budget_rows import budget_detail, history_rows, parse_budget
from carbonbudget_operator.server.public.budget_series import series_question
from carbonbudget_operator.server.public.formats import MEDIA_TYPES, Format, Row, TooManyRows, render
from carbonbudget_operator.server.public.listed_budgets import ListedBudgets
from carbonbudget_operator.server.public.paging import cut, read_cursor
from carbonbudget_operator.server.public.parameters import (
    NOT_FOUND,
    TOO_MANY_ROWS,
    Cursor,
    FormatName,
    json_of,
    rows_of,
    versions_of,
)
from carbonbudget_operator.server.public.visible import VisibleNamespaces
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling, access_answer

MAX_BUDGETS = 5_000  # of a page: the server's own process makes it
SeriesStep = Literal["hour", "day"]
NamespaceName = Annotated[str, Path(max_length=63)]
BudgetName = Annotated[str, Path(max_length=253)]


def add_budget_routes(router: APIRouter, asking: QueryHandling, known: Any, budgets: ListedBudgets) -> None:
    """Add them to the router of /api/v1; `known` is the dependency that gives the caller."""
    visible = VisibleNamespaces(asking.access, budgets.namespaces, "namespace=team-a")

    @router.get("/budgets", responses=rows_of(BudgetsAnswer), summary="Budgets of both kinds, and how they stand")
    async def listed(
        request: Request,
        namespace: Annotated[str, Query(max_length=63, description="CarbonBudgets of this namespace alone")] = "",
        state: Annotated[BudgetState | None, Query(description="Those in this state alone")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_BUDGETS, description="Rows of a page")] = 1_000,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        after = read_cursor(cursor, (str, str, str))
        readable = await _readable(asker, namespace)
        clusterwide = not namespace and await access_answer(asking.access.may_read_cluster_budgets(asker.caller))
        rows = (
            (place, row)
            for place, row in (await budgets.all()).rows
            if (readable is None or place[1] in readable if place[0] == BUDGET.kind else clusterwide)
            and (not namespace or place[1] == namespace)
            and state in (None, row["state"])
        )
        page, following = cut(rows, after, limit)
        return _rows(request, asker, form, list(BudgetSummary.model_fields), page, {"next": following})

    async def _readable(asker: QueryCaller, namespace: str) -> frozenset[str] | None:
        """Namespaces whose CarbonBudgets the caller may get; None for all. Raises Refusal."""
        if asker.wide:
            return None
        if not namespace:
            return frozenset(await visible.of(asker.caller))
        await asker.authorize({namespace})
        return frozenset({namespace})

    async def _found(asker: QueryCaller, resource: Resource, namespace: str, name: str) -> JsonObject:
        """The object. Raises Refusal, 404 also where the caller may not get it."""
        where = f"{namespace}/{name}" if namespace else name
        missing = Refusal(404, "unknown", f"there is no {resource.kind} {where}, or you may not get it")
        if not is_subdomain(name) or (resource.namespaced and not is_label(namespace)):
            raise missing
        if not resource.namespaced:
            may = await access_answer(asking.access.may_read_cluster_budgets(asker.caller))
        else:
            may = asker.wide or await access_answer(asking.access.may_read_budgets(asker.caller, namespace))
        found = await budgets.one(resource, namespace, name) if may else None
        if found is None:
            raise missing
        return found

    @router.get(
        "/budgets/{namespace}/{name}",
        responses=json_of(BudgetDetail) | NOT_FOUND,
        summary="One CarbonBudget, with its thresholds, top workloads and conditions",
    )
    async def one(request: Request, namespace: NamespaceName, name: BudgetName, asker: QueryCaller = known) -> Response:
        return _detail(request, asker, BUDGET, await _found(asker, BUDGET, namespace, name))

    @router.get(
        "/clusterbudgets/{name}",
        responses=json_of(BudgetDetail) | NOT_FOUND,
        summary="One ClusterCarbonBudget, with its thresholds, top workloads and conditions",
    )
    async def cluster_one(request: Request, name: BudgetName, asker: QueryCaller = known) -> Response:
        return _detail(request, asker, CLUSTER_BUDGET, await _found(asker, CLUSTER_BUDGET, "", name))

    @router.get(
        "/budgets/{namespace}/{name}/history",
        responses=rows_of(BudgetHistory) | NOT_FOUND,
        summary="The last 12 periods of a CarbonBudget",
    )
    async def history(
        request: Request,
        namespace: NamespaceName,
        name: BudgetName,
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        return _history(request, asker, form, BUDGET, await _found(asker, BUDGET, namespace, name))

    @router.get(
        "/clusterbudgets/{name}/history",
        responses=rows_of(BudgetHistory) | NOT_FOUND,
        summary="The last 12 periods of a ClusterCarbonBudget",
    )
    async def cluster_history(
        request: Request, name: BudgetName, form: FormatName = "json", asker: QueryCaller = known
    ) -> Response:
        return _history(request, asker, form, CLUSTER_BUDGET, await _found(asker, CLUSTER_BUDGET, "", name))

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
        name: BudgetName,
        step: SeriesStep = "day",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        return await _series(request, asker, BUDGET, await _found(asker, BUDGET, namespace, name), step, form)

    @router.get(
        "/clusterbudgets/{name}/series",
        responses=rows_of(BudgetSeries) | NOT_FOUND,
        summary="Use of a ClusterCarbonBudget over its present period, with limit, even pace and forecast",
    )
    async def cluster_series(
        request: Request,
        name: BudgetName,
        step: SeriesStep = "day",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        return await _series(request, asker, CLUSTER_BUDGET, await _found(asker, CLUSTER_BUDGET, "", name), step, form)


def _detail(request: Request, asker: QueryCaller, resource: Resource, body: JsonObject) -> Response:
    answer = json.dumps(budget_detail(resource, body)).encode()
    return asker.respond_tagged(answer, versions_of(request), MEDIA_TYPES["json"])


def _history(request: Request, asker: QueryCaller, form: Format, resource: Resource, body: JsonObject) -> Response:
    return _rows(request, asker, form, list(FormerBudgetPeriod.model_fields), history_rows(resource, body), {})


def _rows(
    request: Request,
    asker: QueryCaller,
    form: Format,
    columns: Sequence[str],
    rows: Sequence[Row],
    around: Mapping[str, object],
) -> Response:
    try:
        answer = render(form, columns, rows, around)
    except TooManyRows:
        raise Refusal(422, "unanswerable", TOO_MANY_ROWS) from None
    return asker.respond_tagged(answer, versions_of(request), MEDIA_TYPES[form])
