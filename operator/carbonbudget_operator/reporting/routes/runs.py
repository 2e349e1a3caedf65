"""What single runs emitted, and what new ones will: POST /v1/runs/query, GET /v1/projection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request, Response

from carbonbudget_operator.api.query import RunAnswers, RunQueries, RunQuery
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.reporting.book import Book
from carbonbudget_operator.reporting.projection import Projections
from carbonbudget_operator.reporting.routes.asking import EVERY_NAMESPACE, Asking
from carbonbudget_operator.reporting.runs import Runs


def run_routes(asking: Asking, book: Book, now: Callable[[], float]) -> APIRouter:
    """Both of them."""
    router, runs, projections = APIRouter(), Runs(book), Projections(book)

    @router.post("/v1/runs/query")
    async def query(request: Request) -> Response:
        caller = await asking.caller(request)
        asked = (await asking.read(request, RunQueries)).queries
        await asking.authorize(caller, {run.namespace for run in asked})
        for run in asked:
            if run.end <= run.start:
                raise Refusal(422, "unanswerable", f"{run.id}: end must be after start")
        with asking.timed("/v1/runs/query"):
            return await asyncio.to_thread(answer, asked)

    def answer(asked: Sequence[RunQuery]) -> Response:
        through, answers = runs.answers(asked)
        return _json(RunAnswers(data_through=through, answers=answers).model_dump_json())

    @router.get("/v1/projection")
    async def projection(request: Request) -> Response:
        caller = await asking.caller(request)
        await asking.authorize(caller, {EVERY_NAMESPACE})
        with asking.timed("/v1/projection"):
            return await asyncio.to_thread(table)

    def table() -> Response:
        return _json(projections.table(int(now())).model_dump_json())

    return router


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
