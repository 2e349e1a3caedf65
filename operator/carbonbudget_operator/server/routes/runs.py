"""The endpoints for emissions of single runs and for projections: POST /v1/runs/query, GET /v1/projection."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from carbonbudget_operator.api.budget_query_bodies import RunQueries
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling


def run_routes(asking: QueryHandling) -> APIRouter:
    """The routes of runs and projections."""
    router, known = APIRouter(), Depends(asking.asker)

    @router.post("/v1/runs/query")
    async def query(asker: QueryCaller = known) -> Response:
        return await asker.answer("runs", RunQueries, lambda asked: {run.namespace for run in asked.queries})

    @router.get("/v1/projection")
    async def projection(asker: QueryCaller = known) -> Response:
        return await asker.answer_all("projection", pool=asking.pools.projections)

    return router
