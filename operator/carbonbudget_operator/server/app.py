"""The server's REST API as one application: node reports come in, answers go out. Every read is authorized."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Route

from carbonbudget_operator.ingest.caller_authentication import authenticated, tenant_of
from carbonbudget_operator.ingest.node_report_body import read_body
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.report_receiver import ReportReceiver
from carbonbudget_operator.kube.access_reviews import Access
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server.public.listed_objects import ListedBudgets, ListedTargets
from carbonbudget_operator.server.public.opencost_routes import opencost_routes
from carbonbudget_operator.server.public.problem_details import PREFIX, refusal_response
from carbonbudget_operator.server.public.public_routes import public_routes
from carbonbudget_operator.server.public.visible_namespaces import Namespaces, VisibleNamespaces, no_namespaces
from carbonbudget_operator.server.readiness import Readiness
from carbonbudget_operator.server.routes.adjustment_booking import adjustment_routes
from carbonbudget_operator.server.routes.allocation import allocation_routes
from carbonbudget_operator.server.routes.budgets import budget_routes
from carbonbudget_operator.server.routes.external_import import external_routes
from carbonbudget_operator.server.routes.query_handling import QueryHandling, access_answer
from carbonbudget_operator.server.routes.reports import report_routes
from carbonbudget_operator.server.routes.runs import run_routes
from carbonbudget_operator.server.routes.self_requests import SelfRequests, import_routes
from carbonbudget_operator.server.routes.targets import target_routes
from carbonbudget_operator.server.routes.tokens import token_routes
from carbonbudget_operator.server.target_counters import TargetCounters, WantCounters, want_nothing
from carbonbudget_operator.server.worker_pools import WorkerPools


def make_app(
    receiver: ReportReceiver,
    access: Access,
    writer: LedgerWriter,
    pools: WorkerPools,
    registry: CollectorRegistry,
    budgets: ListedBudgets,
    targets: ListedTargets,
    now: Callable[[], float] = time.time,
    pods_without_agent: Callable[[], Mapping[str, int]] = dict,
    namespaces: Namespaces = no_namespaces,
    want_counters: WantCounters = want_nothing,
) -> FastAPI:
    """Compose the routes. `now` returns UTC seconds; `pods_without_agent` counts unmeasured pods by namespace.

    `namespaces` returns those that run pods, or did in the last days; `want_counters` has units counted for targets.
    """
    app = FastAPI(title="carbonbudget", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> JSONResponse:
        return refusal_response(request, refusal)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        """A path or a method that there is not."""
        if not request.scope["path"].startswith(PREFIX):
            return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        reason = f"{request.method} {error.detail}: {PREFIX}openapi.json lists what there is"
        return refusal_response(request, Refusal(error.status_code, "unknown", reason))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return refusal_response(request, Refusal(400, "malformed", f"{where}: {first['msg']}"))

    async def reports(request: Request) -> JSONResponse:
        async with receiver.admit(request) as (caller, request_bytes):
            report = await read_body(request, request_bytes, pools.reports.limits.body)
            encoding = request.headers.get("Content-Encoding", "").lower()
            if readiness.silent is not None:  # it would wait for the ledger and take memory meanwhile
                raise readiness.silent
            result = await receiver.receive(caller, encoding, report)
        return JSONResponse({"result": result})

    # A plain Starlette route: FastAPI's call of a handler takes about 15 us more for each report.
    app.router.routes.insert(0, Route("/v1/reports", reports, methods=["POST"]))

    readiness = Readiness(pools.ledger_checks)
    asking = QueryHandling(access, registry, pools, readiness, now)
    app.include_router(budget_routes(asking, writer, pods_without_agent))
    labels = pools.settings.units.namespace_label, pools.settings.units.pod_label
    counters = TargetCounters(pools.upkeep, pools.settings.cluster, want_counters, labels)
    app.include_router(target_routes(asking, writer, counters))
    app.include_router(adjustment_routes(asking))
    app.include_router(run_routes(asking))
    app.include_router(allocation_routes(asking))
    app.include_router(report_routes(asking))
    app.include_router(external_routes(asking))
    app.include_router(token_routes(asking, asking.read_tokens, namespaces))
    of_pods = SelfRequests(asking, writer, registry)
    # Before all routers: FastAPI tries their routes one by one, which takes as long as the rest of such a request.
    app.router.routes[1:1] = of_pods.routes()
    app.include_router(import_routes(asking, of_pods))
    visible = VisibleNamespaces(access, namespaces)
    app.include_router(public_routes(asking, visible, budgets, targets, receiver.refused_reports))
    app.include_router(opencost_routes(asking, visible))

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        caller = await authenticated(access, request)
        if not await access_answer(access.may_read_metrics(caller)):
            raise Refusal(403, "forbidden", f"{caller.user} may not get /metrics")
        try:
            async with pools.probes.turn(tenant_of(caller.user)):
                text = await pools.probes.ask(lambda _: generate_latest(registry))
        except Refusal as error:
            raise readiness.explain(error) from None
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok")

    @app.get("/readyz")
    async def readyz() -> Response:
        await readiness.check()
        return Response("ok")

    return app
