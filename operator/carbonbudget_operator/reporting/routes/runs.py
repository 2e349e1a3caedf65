"""What single runs emitted, and what new ones will: POST /v1/runs/query, GET /v1/projection."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from carbonbudget_operator.api.query import RunQueries
from carbonbudget_operator.reporting.routes.asking import Asker, Asking


def run_routes(asking: Asking) -> APIRouter:
    """Both of them."""
    router, known = APIRouter(), Depends(asking.asker)

    @router.post("/v1/runs/query")
    async def query(asker: Asker = known) -> Response:
        return await asker.answer("runs", RunQueries, lambda asked: {run.namespace for run in asked.queries})

    @router.get("/v1/projection")
    async def projection(asker: Asker = known) -> Response:
        return await asker.answer_all("projection")

    return router
