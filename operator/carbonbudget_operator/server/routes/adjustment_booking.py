"""The endpoint that books adjustments of budgets' limits, and answers what is booked: POST /v1/adjustments.

For the operator's accounts alone: what it books changes what budgets refuse.
"""

from __future__ import annotations

import logging

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.adjustment_bodies import (
    AdjustmentGroup,
    AdjustmentsAnswer,
    AdjustmentsRequest,
    AnsweredAdjustment,
    AnsweredPeriod,
)
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.booked_adjustments import BookedAdjustment, book_adjustments, read_adjustments
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling
from carbonbudget_operator.server.worker_pools import OperatorPool

_log = logging.getLogger(__name__)


def adjustment_routes(asking: QueryHandling) -> APIRouter:
    """The one route. Who may read budgets of the whole cluster may not book: a person never asks this."""
    router, known = APIRouter(), Depends(asking.asker)
    cluster = asking.pools.settings.cluster

    @router.post("/v1/adjustments")
    async def adjustments(asker: QueryCaller = known) -> Response:
        pool = asker.readers.pool
        if asker.readers is not asking.pools.operator_readers or not isinstance(pool, OperatorPool):
            user = printable(asker.caller.user, 300)
            raise Refusal(403, "forbidden", f"{user} is none of server.operator_accounts: only these book adjustments")
        asked = await asker.read(AdjustmentsRequest)

        def booked(queries: BudgetUseQueries) -> bytes:
            answer = book_and_answer(queries.book.engine, cluster, asked, int(asking.now()))
            return answer.model_dump_json().encode()

        async with pool.turn(asker.who):
            with asking.timed("/v1/adjustments"):
                answer = await pool.ask(booked)
        return asker.respond(answer)

    return router


def book_and_answer(engine: sa.Engine, cluster: str, asked: AdjustmentsRequest, now: int) -> AdjustmentsAnswer:
    """Book what a request proposes, and answer what is booked after that. `now` is UTC seconds."""
    groups = [_rows(group) for group in asked.groups]
    for index in book_adjustments(engine, cluster, groups, now) if groups else ():
        for row in groups[index]:
            if row.micrograms:
                sentence = "adjustment of %s/%s from %d: %s %d ug, %s"
                _log.info(sentence, row.namespace, row.name, row.period_start, row.reason, row.micrograms, row.source)
    periods = {(one.namespace, one.name, one.period_start) for one in asked.budgets}
    with engine.connect() as connection:
        found = read_adjustments(connection, cluster, periods)
    return AdjustmentsAnswer(adjustments=[_answered(row) for row in found])


def _rows(group: AdjustmentGroup) -> list[BookedAdjustment]:
    return [
        BookedAdjustment(
            each.budget.namespace,
            each.budget.name,
            each.budget.period_start,
            each.budget.period_end,
            each.reason,
            printable(each.source, 512),
            each.micrograms,
            printable(each.detail, 256),
        )
        for each in group.adjustments
    ]


def _answered(row: BookedAdjustment) -> AnsweredAdjustment:
    return AnsweredAdjustment(
        budget=AnsweredPeriod(
            namespace=row.namespace, name=row.name, period_start=row.period_start, period_end=row.period_end
        ),
        reason=row.reason,
        source=row.source,
        micrograms=row.micrograms,
        detail=row.detail,
        booked_at=row.booked_at,
    )
