"""The endpoints for the use of budgets: POST /v1/budgets/query and /v1/budgets/hours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from fastapi import APIRouter, Depends, Response

from carbonbudget_operator.answers.budget_boundaries import wanted_cuts
from carbonbudget_operator.answers.budget_use import common_range
from carbonbudget_operator.answers.hourly_use import MAX_HOURS, whole_hours
from carbonbudget_operator.api.budget_query_bodies import BudgetQueries, BudgetQuery
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server.question import QueryAllowance
from carbonbudget_operator.server.routes.namespace_queries import (
    check_namespaces,
    check_order,
    read_namespaces,
    selected_labels,
)
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE


def budget_routes(
    asking: QueryHandling, writer: LedgerWriter, pods_without_agent: Callable[[], Mapping[str, int]]
) -> APIRouter:
    """The routes of budgets. `pods_without_agent` counts by namespace the pods on nodes without an agent."""
    router, known = APIRouter(), Depends(asking.asker)

    @router.post("/v1/budgets/query")
    async def query(asker: QueryCaller = known) -> Response:
        def before(asked: BudgetQueries) -> None:
            """For the operator only: a tenant's question must not use up the cuts of all."""
            check_questions(asked.queries, asker.readers.allowance)
            check_spans(asked.queries, asker.readers.allowance)
            writer.add_cuts(wanted_cuts(asked.queries), int(asking.now()))
            writer.select_labels(selected_labels(asked.queries), int(asking.now()))

        return await asker.answer("budgets", BudgetQueries, _namespaces, counted, before)

    def counted(namespaces: Iterable[str]) -> dict[str, dict[str, int]]:
        pods, names = pods_without_agent(), set(namespaces)
        if EVERY_NAMESPACE not in names:
            pods = {name: number for name, number in pods.items() if name in names}
        return {"pods_without_agent": dict(pods)}

    @router.post("/v1/budgets/hours")
    async def hours(asker: QueryCaller = known) -> Response:
        return await asker.answer("hours", BudgetQueries, _namespaces)

    return router


def _namespaces(asked: BudgetQueries) -> set[str]:
    return read_namespaces(asked.queries)


def check_questions(asked: Sequence[BudgetQuery], allowance: QueryAllowance) -> None:
    """Refuse questions that are well-formed and cannot be answered."""
    allowance.check("questions", len(asked))
    for query in asked:
        check_order(query.id, query.start, query.end)
        for name in ("settled_through", "own_figures_through"):
            if getattr(query.wishes, name) % HOUR:
                raise Refusal(422, "unanswerable", f"{query.id}: {name} must be a whole hour")
        check_namespaces(query)


def check_spans(asked: Sequence[BudgetQuery], allowance: QueryAllowance) -> None:
    """Refuse questions about too many different spans."""
    allowance.check("spans", len({common_range(query) for query in asked}))


def check_hours(asked: Sequence[BudgetQuery], allowance: QueryAllowance) -> None:
    """Refuse questions by the hour about too many hours."""
    total = 0
    for query in asked:
        first, last = whole_hours(query)
        count = (last - first) // HOUR
        total += count
        if count > MAX_HOURS:
            raise Refusal(422, "unanswerable", f"{query.id}: at most {MAX_HOURS // 24} days by the hour, not {count} h")
    allowance.check("hours", total)
