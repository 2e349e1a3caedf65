"""The routes of /api/v1: who asks is known and authorized before the ledger is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.openapi.utils import get_openapi

from carbonbudget_operator.answers.allocation_groups import GroupingError, parse_filter
from carbonbudget_operator.answers.emission_series import COMPONENTS
from carbonbudget_operator.answers.window_parser import Step
from carbonbudget_operator.api.emission_bodies import EmissionAnswer, UsedToken, WhoAmI
from carbonbudget_operator.api.status_bodies import ServerStatus
from carbonbudget_operator.api.wire_names import MEDIA_TYPES
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.refused_reports import RefusedReports
from carbonbudget_operator.server.public.budget_routes import add_budget_routes
from carbonbudget_operator.server.public.cluster_routes import add_cluster_routes
from carbonbudget_operator.server.public.emission_answer import Accounting
from carbonbudget_operator.server.public.grid_routes import add_grid_routes
from carbonbudget_operator.server.public.listed_objects import ListedBudgets, ListedTargets
from carbonbudget_operator.server.public.problem_details import MEDIA_TYPE, PREFIX
from carbonbudget_operator.server.public.public_parameters import (
    PROBLEMS,
    Cursor,
    FormatName,
    FromText,
    RowLimit,
    ToText,
    WindowText,
    check_names,
    rows_of,
    versions_of,
    window_of,
)
from carbonbudget_operator.server.public.run_routes import add_run_routes
from carbonbudget_operator.server.public.target_routes import add_target_routes
from carbonbudget_operator.server.public.visible_namespaces import VisibleNamespaces
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling

_ALL = ",".join(COMPONENTS)
_BY = "namespace, workload, node, run, model, model-version, stage, label:KEY"


def public_routes(
    asking: QueryHandling,
    visible: VisibleNamespaces,
    budgets: ListedBudgets,
    targets: ListedTargets,
    refused: RefusedReports,
) -> APIRouter:
    """All of them. `visible` finds what a caller may be shown who names no namespace."""
    asked_by = Depends(asking.asker)

    async def checked(request: Request, asker: QueryCaller = asked_by) -> QueryCaller:
        check_names(request)
        return asker

    required_labels = asking.pools.settings.reports.required_labels
    router, known = APIRouter(prefix=PREFIX.rstrip("/"), responses=PROBLEMS), Depends(checked)

    @router.get("/emissions", responses=rows_of(EmissionAnswer), summary="Energy and emissions by group and step")
    async def emissions(
        request: Request,
        window: WindowText = "",
        start: FromText = "",
        end: ToText = "",
        by: Annotated[str, Query(max_length=1_000, description=_BY)] = "namespace",
        step: Step = "all",
        accounting: Accounting = "Both",
        filters: Annotated[str, Query(alias="filter", max_length=4_000, description="FIELD=VALUE,...")] = "",
        include: Annotated[str, Query(max_length=60, description="Dynamic,Idle,Overhead or some of them")] = _ALL,
        compare: Literal["", "previous"] = "",
        unlabelled: Annotated[bool, Query(description="Whether to add the energy without required labels")] = False,
        limit: RowLimit = 10_000,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        first, last = window_of(window, start, end, int(asking.now()))
        shown = await _visible(filters, asker)
        given = {
            "start": first, "end": last, "by": by, "step": step, "accounting": accounting, "filter": filters,
            "include": include, "compare": bool(compare), "limit": limit, "cursor": cursor, "format": form,
            "namespaces": shown, "required_labels": required_labels if unlabelled else [],
        }  # fmt: skip
        return await asker.answer_version("emissions", given, versions_of(request), MEDIA_TYPES[form])

    async def _visible(filters: str, asker: QueryCaller) -> list[str] | None:
        try:
            named = [value for field, value in parse_filter(filters) if field == "namespace"]
        except GroupingError as error:
            raise Refusal(400, "malformed", str(error)) from None
        return await _among(named, asker)

    async def _among(names: Iterable[str], asker: QueryCaller) -> list[str] | None:
        """None for the whole cluster, else the namespaces that the answer may be about. Raises Refusal."""
        if asker.wide:
            return None
        named = list(names)
        found = await (visible.among(asker.caller, named) if named else visible.of(asker.caller))
        if not found:
            raise Refusal(403, "forbidden", asker.caller.missing_right(named))
        return found

    @router.get("/whoami", summary="Who the server takes you for, and what you may read")
    async def whoami(asker: QueryCaller = known) -> WhoAmI:
        shown = None
        if not asker.wide:
            shown = await visible.of(asker.caller)
        caller = asker.caller
        used = caller.read_token
        return WhoAmI(
            user=caller.user, groups=list(caller.groups), all_namespaces=asker.wide, namespaces=shown,
            token=UsedToken(id=used.id, name=used.name) if used is not None else None,
        )  # fmt: skip

    @router.get("/status", summary="The cluster, its settings, how far data and exports reach, refused reports")
    async def status(asker: QueryCaller = known) -> ServerStatus:
        answered = await asker.answer_all(
            "status", version=version("carbonbudget"), refused_since=refused.since, refused=refused.listed()
        )
        return ServerStatus.model_validate_json(bytes(answered.body))

    add_grid_routes(router, asking, known)
    add_cluster_routes(router, asking, known)
    add_budget_routes(router, asking, known, budgets)
    add_target_routes(router, asking, known, targets)
    add_run_routes(router, asking, known, _among)

    # Anybody may read it, so that it is made once. It takes a tenth of a second of CPU time: a start does not wait for
    # it, and the thread leaves the event loop to others.
    documents: list[bytes] = []
    making = asyncio.Lock()

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        async with making:
            if not documents:
                documents.append(await asyncio.to_thread(lambda: json.dumps(openapi_document(router)).encode()))
        return Response(documents[0], media_type="application/json")

    return router


def openapi_document(router: APIRouter) -> Mapping[str, Any]:
    """The OpenAPI 3.1 document of /api/v1."""
    made = get_openapi(
        title="carbonbudget", version="v1", openapi_version="3.1.0", routes=router.routes,
        description="Energy and emissions of a cluster's pods. A bearer token for the audience carbonbudget-server.",
    )  # fmt: skip
    for item in made["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status >= "400" and "application/json" in response.get("content", {}):  # as FastAPI has a model
                    response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
    made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"token": []}]
    return made
