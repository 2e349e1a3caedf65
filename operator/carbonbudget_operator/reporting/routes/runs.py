"""What single runs emitted, and what new ones will: POST /v1/runs/query, GET /v1/projection."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Depends, Response

from carbonbudget_operator.api.query import RunAnswers, RunQueries
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.reporting.pools import Readers
from carbonbudget_operator.reporting.projection import Projections
from carbonbudget_operator.reporting.query import Queries
from carbonbudget_operator.reporting.routes.asking import Asker, Asking
from carbonbudget_operator.reporting.runs import Runs


def run_routes(asking: Asking, now: Callable[[], float]) -> APIRouter:
    """Both of them."""
    router, known = APIRouter(), Depends(asking.asker)
    projections = Projections(asking.pools.cluster_readers.pool.queries.book)

    @router.post("/v1/runs/query")
    async def query(asker: Asker = known) -> Response:
        return await asker.answer(RunQueries, lambda asked: {run.namespace for run in asked.queries}, answer)

    def answer(queries: Queries, asked: RunQueries, readers: Readers) -> str:
        readers.allowance.check("questions", len(asked.queries))
        for run in asked.queries:
            if run.end <= run.start:
                raise Refusal(422, "unanswerable", f"{run.id}: end must be after start")
        through, answers = Runs(queries.book).answers(asked.queries)
        return RunAnswers(data_through=through, answers=answers).model_dump_json()

    @router.get("/v1/projection")
    async def projection(asker: Asker = known) -> Response:
        return await asker.answer_all(lambda _: projections.table(int(now())).model_dump_json())

    return router
