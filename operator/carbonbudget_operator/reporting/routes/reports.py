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
from carbonbudget_operator.reporting.query import Queries
from carbonbudget_operator.reporting.routes.asking import Asker, Asking
from carbonbudget_operator.reporting.spans import SpanError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LATEST = 2**40


def report_routes(asking: Asking) -> APIRouter:
    """All of them. A report takes long; to close one is to make it as a question, and to keep it in a thread."""
    router, known = APIRouter(), Depends(asking.asker)
    writing, cluster = asking.pools.closing, asking.pools.settings.cluster

    @router.get("/v1/report")
    async def report(
        period: Annotated[str, Query(max_length=32)] = "",
        start: Annotated[int, Query(alias="from", ge=0, le=_LATEST)] = 0,
        end: Annotated[int, Query(alias="to", ge=0, le=_LATEST)] = 0,
        asker: Asker = known,
    ) -> Response:
        return await asker.answer_all("report", long=True, period=period, start=start, end=end)

    @router.get("/v1/report/closures")
    async def closures(asker: Asker = known) -> Response:
        return await asker.answer_all("closures")

    @router.get("/v1/report/closed")
    async def closed(period: Annotated[str, Query(max_length=32)], asker: Asker = known) -> Response:
        return await asker.answer_all("closed", period=period)

    @router.post("/v1/report/close")
    async def close(asker: Asker = known) -> Response:
        async def keep(prepared: bytes) -> bytes:
            async with writing.turn(asker.who):
                return await writing.ask(kept, prepared)

        def kept(queries: Queries, prepared: bytes) -> bytes:
            made = json.loads(prepared)
            closed = Closed(made["period"], made["closed_at"], made["sha256"], made["report"])
            refused(lambda: closing.keep(queries.book.engine, cluster, closed))
            _log.info("the report of %s was closed by %s", closed.period, asker.caller.user)
            return prepared

        await asker.authorize_closing("create")
        return await asker.answer("prepare", ClosePeriod, lambda _: {EVERY_NAMESPACE}, long=True, then=keep)

    @router.post("/v1/report/reopen")
    async def reopen(asker: Asker = known) -> Response:
        def undone(queries: Queries, asked: ReopenPeriod) -> bytes:
            engine, now = queries.book.engine, int(asking.now())
            found = refused(lambda: closing.reopen(engine, cluster, asked.period, now, asked.reason))
            _log.info("the report of %s was reopened by %s", found.period, asker.caller.user)
            return encoded(found)

        await asker.authorize_closing("delete")
        await asker.authorize({EVERY_NAMESPACE})
        asked = await asker.read(ReopenPeriod)
        async with writing.turn(asker.who):
            return asker.held(await writing.ask(undone, asked))

    return router


def encoded(closed: Closed) -> bytes:
    """`report` is the text that was hashed, as a string: parsed and written again it might have other bytes."""
    made = {"period": closed.period, "closed_at": closed.closed_at, "sha256": closed.digest, "report": closed.text}
    return json.dumps(made).encode()


def refused(work: Callable[[], _T]) -> _T:
    """What `work` gives. Raises Refusal for what cannot be reported or closed."""
    try:
        return work()
    except SpanError as error:
        raise Refusal(400, "malformed", str(error)) from None
    except closing.NotClosed as error:
        raise Refusal(404, "not_closed", str(error)) from None
    except closing.ClosingError as error:
        raise Refusal(422, "unanswerable", str(error)) from None
