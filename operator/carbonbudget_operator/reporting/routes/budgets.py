"""What budgets used: POST /v1/budgets/query and /v1/budgets/hours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request, Response

from carbonbudget_operator.api.query import BudgetAnswers, BudgetQueries, BudgetQuery, HourlyAnswers
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.slices import HOUR
from carbonbudget_operator.ledger.writer import Writer
from carbonbudget_operator.reporting.hourly import MAX_HOURS, MAX_HOURS_IN_ALL, hourly, whole_hours
from carbonbudget_operator.reporting.instants import wanted_cuts
from carbonbudget_operator.reporting.merged import EVERY_NAMESPACE as STAR
from carbonbudget_operator.reporting.query import Queries, span_of
from carbonbudget_operator.reporting.routes.asking import EVERY_NAMESPACE, Asking

_MAX_SPANS = 100  # of a tenant: each takes the rows of its namespaces once more


def budget_routes(asking: Asking, queries: Queries, writer: Writer, now: Callable[[], float]) -> APIRouter:
    """Both of them."""
    router = APIRouter()

    @router.post("/v1/budgets/query")
    async def query(request: Request) -> Response:
        caller = await asking.caller(request)
        asked = (await asking.read(request, BudgetQueries)).queries
        wide = await asking.authorize(caller, _namespaces(asked))
        _check(asked)
        if not wide:
            _check_spans(asked)
        with asking.timed("/v1/budgets/query"):
            if wide:  # the controller: a tenant's question must not use up the cuts of all
                await asyncio.to_thread(writer.add_cuts, wanted_cuts(asked), int(now()))
            return await asyncio.to_thread(answer, asked)

    def answer(asked: Sequence[BudgetQuery]) -> Response:
        through = queries.data_through()
        return _json(BudgetAnswers(data_through=through, answers=queries.budgets(asked)).model_dump_json())

    @router.post("/v1/budgets/hours")
    async def hours(request: Request) -> Response:
        caller = await asking.caller(request)
        asked = (await asking.read(request, BudgetQueries)).queries
        await asking.authorize(caller, _namespaces(asked))
        _check(asked)
        _check_hours(asked)
        with asking.timed("/v1/budgets/hours"):
            return await asyncio.to_thread(answer_hours, asked)

    def answer_hours(asked: Sequence[BudgetQuery]) -> Response:
        return _json(HourlyAnswers(answers=hourly(queries.book, asked)).model_dump_json())

    return router


def _namespaces(asked: Sequence[BudgetQuery]) -> set[str]:
    return {EVERY_NAMESPACE if name == STAR else name for query in asked for name in query.namespaces}


def _check(asked: Sequence[BudgetQuery]) -> None:
    """Refuse what is well-formed and cannot be answered."""
    for query in asked:
        if query.end <= query.start:
            raise Refusal(422, "unanswerable", f"{query.id}: end must be after start")
        if query.settled_through % HOUR:
            raise Refusal(422, "unanswerable", f"{query.id}: settled_through must be a whole hour")
        if STAR in query.namespaces and len(query.namespaces) > 1:
            raise Refusal(422, "unanswerable", f"{query.id}: * stands for every namespace, so name no other beside it")


def _check_spans(asked: Sequence[BudgetQuery]) -> None:
    """A thousand budgets of a cluster have as many spans as they like; they are the controller's question."""
    count = len({span_of(query) for query in asked})
    if count > _MAX_SPANS:
        reason = f"{count} different spans (start, end, settled_through) in one request, at most {_MAX_SPANS}"
        raise Refusal(422, "unanswerable", f"{reason} for who may not read all namespaces: ask in parts")


def _check_hours(asked: Sequence[BudgetQuery]) -> None:
    total = 0
    for query in asked:
        first, last = whole_hours(query)
        count = (last - first) // HOUR
        total += count
        if count > MAX_HOURS:
            raise Refusal(422, "unanswerable", f"{query.id}: at most {MAX_HOURS // 24} days by the hour, not {count} h")
    if total > MAX_HOURS_IN_ALL:
        raise Refusal(422, "unanswerable", f"{total} hours in one request, at most {MAX_HOURS_IN_ALL}: ask in parts")


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
