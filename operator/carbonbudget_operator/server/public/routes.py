"""The routes of /api/v1: who asks is known and authorized before the ledger is read."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from carbonbudget_operator.answers.grouping import GroupingError, parse_filter
from carbonbudget_operator.answers.windows import Range, Step, WindowError, parse_instant, parse_window
from carbonbudget_operator.api.emission_bodies import EmissionAnswer, Problem, ServerStatus, WhoAmI
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.public.emission_answer import Accounting
from carbonbudget_operator.server.public.formats import MEDIA_TYPES, Format
from carbonbudget_operator.server.public.problems import MEDIA_TYPE, PREFIX
from carbonbudget_operator.server.public.visible import Namespaces, visible_namespaces
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling

MAX_ROWS = 50_000
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": what}
    for status, what in {
        400: "The request cannot be read.", 401: "No valid token.", 403: "You may not read this.",
        422: "The question is too large, or has no answer.", 503: "Busy, or a part is away: Retry-After says when.",
    }.items()
}  # fmt: skip
_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"model": EmissionAnswer, "content": {MEDIA_TYPES["ndjson"]: {}, "text/csv": {}}},
    304: {"description": "The answer is the one that If-None-Match names."},
}


def public_routes(asking: QueryHandling, namespaces: Namespaces) -> APIRouter:
    """All of them. `namespaces` gives those that run pods: what a caller who names none may be shown."""
    router, known = APIRouter(prefix=PREFIX.rstrip("/"), responses=_PROBLEMS), Depends(asking.asker)

    @router.get("/emissions", responses=_FORMATS, summary="Energy and emissions by group and step")
    async def emissions(
        request: Request,
        window: Annotated[str, Query(max_length=64, description="today, 7d, lastmonth, FROM,TO")] = "",
        start: Annotated[str, Query(alias="from", max_length=32, description="RFC 3339, or seconds")] = "",
        end: Annotated[str, Query(alias="to", max_length=32)] = "",
        by: Annotated[str, Query(max_length=1_000, description="namespace, workload, node, label:KEY")] = "namespace",
        step: Step = "all",
        accounting: Accounting = "Both",
        filters: Annotated[str, Query(alias="filter", max_length=4_000, description="FIELD=VALUE,...")] = "",
        compare: Literal["", "previous"] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 10_000,
        cursor: Annotated[str, Query(max_length=4_000)] = "",
        form: Annotated[Format, Query(alias="format")] = "json",
        asker: QueryCaller = known,
    ) -> Response:
        if unknown := sorted(set(request.query_params) - _PARAMETERS):
            known_here = ", ".join(sorted(_PARAMETERS))
            raise Refusal(400, "malformed", f"{', '.join(unknown)[:200]}: no such parameter; there are {known_here}")
        first, last = _window(window, start, end, int(asking.now()))
        shown = await _visible(filters, asker)
        given = {
            "start": first, "end": last, "by": by, "step": step, "accounting": accounting, "filter": filters,
            "compare": bool(compare), "limit": limit, "cursor": cursor, "format": form, "namespaces": shown,
        }  # fmt: skip
        return await asker.answer_version("emissions", given, _versions(request), MEDIA_TYPES[form])

    async def _visible(filters: str, asker: QueryCaller) -> list[str] | None:
        """None for the whole cluster, else the namespaces that the answer may be about. Raises Refusal."""
        if asker.wide:
            return None
        try:
            named = [value for field, value in parse_filter(filters) if field == "namespace"]
        except GroupingError as error:
            raise Refusal(400, "malformed", str(error)) from None
        found = await visible_namespaces(asking.access, asker.caller, named or await namespaces())
        if not found:
            where = f"namespace {named[0]}" if named else "any namespace"
            raise Refusal(403, "forbidden", f"{asker.caller.user} may not get carbonbudgets in {where}")
        return found

    @router.get("/whoami", summary="Who the server takes you for, and what you may read")
    async def whoami(asker: QueryCaller = known) -> WhoAmI:
        shown = None
        if not asker.wide:
            shown = await visible_namespaces(asking.access, asker.caller, await namespaces())
        caller = asker.caller
        return WhoAmI(user=caller.user, groups=list(caller.groups), all_namespaces=asker.wide, namespaces=shown)

    @router.get("/status", summary="The cluster, the settings, and how far the data reach")
    async def status(asker: QueryCaller = known) -> ServerStatus:
        answered = await asker.answer_all("status", version=version("carbonbudget"))
        return ServerStatus.model_validate_json(bytes(answered.body))

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        return JSONResponse(openapi_document(router))

    return router


_PARAMETERS = frozenset((
    "window", "from", "to", "by", "step", "accounting", "filter", "compare", "limit", "cursor", "format",
))  # fmt: skip


def openapi_document(router: APIRouter) -> Mapping[str, Any]:
    """The OpenAPI 3.1 document of /api/v1."""
    return get_openapi(
        title="carbonbudget", version="v1", openapi_version="3.1.0", routes=router.routes,
        description="Energy and emissions of a cluster's pods. A bearer token for the audience carbonbudget-server.",
    )  # fmt: skip


def _window(window: str, start: str, end: str, now: int) -> Range:
    """Raises Refusal."""
    if window and (start or end):
        raise Refusal(400, "malformed", "give window, or from and to")
    try:
        if not start:
            return parse_window(window or "7d", now)
        return parse_instant(start), parse_instant(end) if end else now
    except WindowError as error:
        raise Refusal(400, "malformed", str(error)) from None


def _versions(request: Request) -> frozenset[str]:
    """The versions of the answer that the caller has (RFC 9110, If-None-Match)."""
    tags = request.headers.get("If-None-Match", "").split(",")
    return frozenset(tag.strip().removeprefix("W/").strip('"') for tag in tags)
