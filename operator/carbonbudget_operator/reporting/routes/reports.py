"""Reports of a period, open and closed: GET /v1/report and what is below it. For people, by `carbonbudget report`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Response

from carbonbudget_operator.api.report import ClosePeriod, ReopenPeriod
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.closed import Closed
from carbonbudget_operator.namespace_names import EVERY_NAMESPACE
from carbonbudget_operator.reporting import closing
from carbonbudget_operator.reporting.pools import Readers
from carbonbudget_operator.reporting.query import Queries
from carbonbudget_operator.reporting.routes.asking import Asker, Asking
from carbonbudget_operator.reporting.spans import SpanError, parse_span
from carbonbudget_operator.settings import Settings

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LATEST = 2**40


def report_routes(asking: Asking, settings: Settings, now: Callable[[], float]) -> APIRouter:
    """All of them. A report reads much: what makes one has a thread and a connection of its own."""
    router, known, pool = APIRouter(), Depends(asking.asker), asking.pools.periods

    @router.get("/v1/report")
    async def report(
        period: Annotated[str, Query(max_length=32)] = "",
        start: Annotated[int, Query(alias="from", ge=0, le=_LATEST)] = 0,
        end: Annotated[int, Query(alias="to", ge=0, le=_LATEST)] = 0,
        asker: Asker = known,
    ) -> Response:
        def made(queries: Queries) -> str:
            span = parse_span(period) if period else (start, end)
            if span[0] >= span[1]:
                raise Refusal(400, "malformed", "give period, or from and to, and from before to")
            return json.dumps(closing.report(queries.book.engine, settings, span, int(now()), period))

        return await asker.answer_all(lambda queries: _refused(lambda: made(queries)), pool)

    @router.get("/v1/report/closures")
    async def closures(asker: Asker = known) -> Response:
        def listed(queries: Queries) -> str:
            return json.dumps(closing.closures(queries.book.engine, settings.cluster))

        return await asker.answer_all(listed)

    @router.get("/v1/report/closed")
    async def closed(period: Annotated[str, Query(max_length=32)], asker: Asker = known) -> Response:
        def found(queries: Queries) -> str:
            return _encoded(closing.find(queries.book.engine, settings.cluster, period))

        return await asker.answer_all(lambda queries: _refused(lambda: found(queries)))

    @router.post("/v1/report/close")
    async def close(asker: Asker = known) -> Response:
        def kept(queries: Queries, asked: ClosePeriod, _: Readers) -> str:
            engine = queries.book.engine
            closed = _refused(lambda: closing.close(engine, settings, asked.period, int(now()), asked.incomplete))
            _log.info("the report of %s was closed by %s", closed.period, asker.caller.user)
            return _encoded(closed)

        await asker.authorize_closing("create")
        return await asker.answer(ClosePeriod, lambda _: {EVERY_NAMESPACE}, kept, pool)

    @router.post("/v1/report/reopen")
    async def reopen(asker: Asker = known) -> Response:
        def undone(queries: Queries, asked: ReopenPeriod, _: Readers) -> str:
            engine = queries.book.engine
            found = _refused(lambda: closing.reopen(engine, settings.cluster, asked.period, int(now()), asked.reason))
            _log.info("the report of %s was reopened by %s", found.period, asker.caller.user)
            return _encoded(found)

        await asker.authorize_closing("delete")
        return await asker.answer(ReopenPeriod, lambda _: {EVERY_NAMESPACE}, undone, pool)

    return router


def _encoded(closed: Closed) -> str:
    """`report` is the text that was hashed, as a string: parsed and written again it might have other bytes."""
    return json.dumps(
        {"period": closed.period, "closed_at": closed.closed_at, "sha256": closed.digest, "report": closed.text}
    )


def _refused(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except SpanError as error:
        raise Refusal(400, "malformed", str(error)) from None
    except closing.NotClosed as error:
        raise Refusal(404, "not_closed", str(error)) from None
    except closing.ClosingError as error:
        raise Refusal(422, "unanswerable", str(error)) from None
