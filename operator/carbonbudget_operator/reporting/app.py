"""The server's REST face: reports in, answers out. Every read is authorized."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from starlette.routing import Route

from carbonbudget_operator.ingest.receive import Receiver
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access import Access
from carbonbudget_operator.ledger.writer import Writer
from carbonbudget_operator.reporting.query import Queries
from carbonbudget_operator.reporting.routes.allocation import allocation_routes
from carbonbudget_operator.reporting.routes.asking import Asking, ask, body, token
from carbonbudget_operator.reporting.routes.budgets import budget_routes
from carbonbudget_operator.reporting.routes.runs import run_routes


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
    app = FastAPI(title="carbonbudget", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        headers = {"Retry-After": str(refusal.retry_after_s)} if refusal.retry_after_s else {}
        if refusal.status == 401:  # nobody keeps a connection without a name
            headers["Connection"] = "close"
        return JSONResponse({"reason": refusal.reason}, refusal.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return JSONResponse({"reason": f"{where}: {first['msg']}"}, 400)

    async def reports(request: Request) -> JSONResponse:
        async with receiver.admit(token(request)) as caller:
            report = await body(request, max_body_bytes)
            encoding = request.headers.get("Content-Encoding", "").lower()
            fate = await receiver.receive(caller, encoding, report)
        return JSONResponse({"result": fate})

    # A plain route: FastAPI's way of calling a handler costs some 15 us more for each report.
    app.router.routes.insert(0, Route("/v1/reports", reports, methods=["POST"]))

    asking = Asking(access, registry, max_body_bytes)
    app.include_router(budget_routes(asking, queries, writer, now))
    app.include_router(run_routes(asking, queries.book, now))
    app.include_router(allocation_routes(asking, queries))

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        caller = await asking.caller(request)
        if not await ask(access.may_read_metrics(caller)):
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
