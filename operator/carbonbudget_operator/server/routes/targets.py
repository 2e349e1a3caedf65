"""The endpoint for the figures of targets: POST /v1/targets/query."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Depends, Response

from carbonbudget_operator.api.target_query_bodies import TargetQueries, TargetQuery
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
from carbonbudget_operator.server.target_counters import TargetCounters
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

_MOST_HOURS = 5 * 366 * 24  # of a span; a baseline is of a month or a year


def target_routes(asking: QueryHandling, writer: LedgerWriter, counters: TargetCounters) -> APIRouter:
    """The route of targets. The operator's questions register the counters and labels that they need."""
    router, known = APIRouter(), Depends(asking.asker)

    @router.post("/v1/targets/query")
    async def query(asker: QueryCaller = known) -> Response:
        def before(asked: TargetQueries) -> None:
            """For the operator only: a tenant's question must not have Prometheus asked."""
            check_targets(asked.queries, asker.readers.allowance)
            now = int(asking.now())
            writer.select_labels(selected_labels(asked.queries), now)
            counters.register(asked.queries, now)

        pool = asking.pools.targets
        return await asker.answer("targets", TargetQueries, _namespaces, before=before, operator_pool=pool)

    return router


def _namespaces(asked: TargetQueries) -> set[str]:
    # A query over the cluster counts what its author says, whatever the namespaces.
    over_cluster = {EVERY_NAMESPACE for query in asked.queries if query.source.query is not None}
    return over_cluster | read_namespaces(query for query in asked.queries if query.source.query is None)


def check_targets(asked: Sequence[TargetQuery], allowance: QueryAllowance) -> None:
    """Refuse questions that are well-formed and cannot be answered. Raises Refusal 422."""
    allowance.check("questions", len(asked))
    ranges: set[tuple[int, int]] = set()
    days = 0
    for query in asked:
        source = query.source
        given = (source.preset, source.counter, source.client, source.query)
        if sum(one is not None for one in given) != 1:
            raise Refusal(422, "unanswerable", f"{query.id}: give one of preset, counter, client and query as source")
        check_namespaces(query)
        for span in query.spans:
            check_order(query.id, span.start, span.end)
            if span.start % HOUR or span.end % HOUR:
                raise Refusal(422, "unanswerable", f"{query.id}: a span starts and ends at full hours of UTC")
            if span.end - span.start > _MOST_HOURS * HOUR:
                raise Refusal(422, "unanswerable", f"{query.id}: a span has at most {_MOST_HOURS // 24} days")
            ranges.add((span.start, span.end))
            days += -(-(span.end - span.start) // (24 * HOUR)) * len(query.namespaces)
    allowance.check("spans", len(ranges))
    most = allowance.hours  # a day in memory is a row of a query by the hour and 24 numbers
    if days > most:
        raise Refusal(422, "unanswerable", f"{days} days of all targets in one request, at most {most}: ask in parts")
