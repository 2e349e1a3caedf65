"""The server's REST face: reports in, answers out. Every read is authorized."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from starlette.routing import Route

from carbonbudget_operator.api.query import BudgetAnswers, BudgetQueries
from carbonbudget_operator.ingest.receive import Receiver
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access import Access, Caller, Unauthenticated, Unavailable
from carbonbudget_operator.ledger.writer import Writer
from carbonbudget_operator.reporting.grouping import (
    GroupingError,
    answer,
    group,
    needs_nodes,
    parse_filter,
    parse_group_by,
)
from carbonbudget_operator.reporting.query import Queries

_LATEST = 2**40


def make_app(
    receiver: Receiver,
    access: Access,
    writer: Writer,
    queries: Queries,
    registry: CollectorRegistry,
    max_body_bytes: int,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """Compose the routes. `now` gives UTC seconds."""
    app = FastAPI(title="carbonbudget", docs_url=None, redoc_url=None)

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        headers = {"Retry-After": str(refusal.retry_after_s)} if refusal.retry_after_s else None
        return JSONResponse({"reason": refusal.reason}, refusal.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return JSONResponse({"reason": f"{where}: {first['msg']}"}, 400)

    async def reports(request: Request) -> JSONResponse:
        async with receiver.admit(_token(request)) as caller:
            body = await _body(request, max_body_bytes)
            encoding = request.headers.get("Content-Encoding", "").lower()
            fate = await receiver.receive(caller, encoding, body)
        return JSONResponse({"result": fate})

    # A plain route: what FastAPI does for a handler's arguments is a tenth of what a report costs.
    app.router.routes.insert(0, Route("/v1/reports", reports, methods=["POST"]))

    @app.post("/v1/budgets/query")
    async def budgets(request: Request) -> JSONResponse:
        caller = await _caller(access, request)
        body = await _body(request, max_body_bytes)
        try:
            asked = BudgetQueries.model_validate_json(body)
        except ValueError as error:
            raise Refusal(400, "malformed", " ".join(str(error).split())[:300]) from None
        wide = await _authorize(access, caller, {name for query in asked.queries for name in query.namespaces})
        if wide:  # the controller: a tenant's question must not use up the cuts of all
            instants = [at for query in asked.queries for at in (query.start, query.end)]
            await asyncio.to_thread(writer.add_cuts, instants, int(now()))
        answers = BudgetAnswers(
            data_through=await asyncio.to_thread(queries.data_through),
            answers=await asyncio.to_thread(queries.budgets, asked.queries),
        )
        return JSONResponse(answers.model_dump())

    @app.get("/v1/allocation")
    async def allocation(
        request: Request,
        start: Annotated[int, Query(alias="from", ge=0, le=_LATEST)],
        end: Annotated[int, Query(alias="to", ge=0, le=_LATEST)],
        group_by: Annotated[str, Query(max_length=1000)] = "namespace",
        filter_by: Annotated[str, Query(alias="filter", max_length=4000)] = "",
    ) -> JSONResponse:
        caller = await _caller(access, request)
        # A share depends on everybody else on the node, and the rest shows as a row: all namespaces.
        await _authorize(access, caller, {""})
        try:
            fields, filters = parse_group_by(group_by), parse_filter(filter_by)
        except GroupingError as error:
            raise Refusal(400, "malformed", str(error)) from None

        def rows() -> dict[str, object]:
            return answer(group(queries.rows(start, end, needs_nodes(fields, filters)), fields, filters))

        return JSONResponse(await asyncio.to_thread(rows))

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        caller = await _caller(access, request)
        if not await _ask(access.may_read_metrics(caller)):
            raise Refusal(403, "forbidden", f"{caller.user} may not get /metrics")
        text = await asyncio.to_thread(generate_latest, registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok")

    @app.get("/readyz")
    async def readyz() -> Response:
        await asyncio.to_thread(queries.data_through)  # the ledger answers
        return Response("ok")

    return app


async def _body(request: Request, max_bytes: int) -> bytes:
    """The body, read no further than it may be long."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise Refusal(413, "too_large", f"the body is larger than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _caller(access: Access, request: Request) -> Caller:
    token = _token(request)
    try:
        if not token:
            raise Unauthenticated("a bearer token is needed")
        return await access.authenticate(token)
    except Unauthenticated as error:
        raise Refusal(401, "unauthenticated", str(error)) from None
    except Unavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None


async def _authorize(access: Access, caller: Caller, namespaces: Iterable[str]) -> bool:
    """Refuse unless the caller may get carbonbudgets in every namespace asked for; whether it may in all."""
    if await _ask(access.may_read_budgets(caller, "")):
        return True
    for namespace in sorted(namespaces):
        if not namespace or not await _ask(access.may_read_budgets(caller, namespace)):
            where = f"namespace {namespace}" if namespace else "all namespaces"
            raise Refusal(403, "forbidden", f"{caller.user} may not get carbonbudgets in {where}")
    return False


async def _ask(question: Awaitable[bool]) -> bool:
    try:
        return await question
    except Unavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None
