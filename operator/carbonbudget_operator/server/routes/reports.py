"""The endpoints of `carbonbudget report`: GET /v1/report, its closures, POST /v1/report/close and /v1/report/reopen."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Response

from carbonbudget_operator.answers import report_closing
from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.time_ranges import TimeRangeError
from carbonbudget_operator.api.report_bodies import ClosePeriod, ReopenPeriod
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.closed_reports import ClosedReport
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LATEST = 2**40


def report_routes(asking: QueryHandling) -> APIRouter:
    """All routes of reports. A worker process makes a report; a thread of the server stores a closed one."""
    router, known = APIRouter(), Depends(asking.asker)
    writing, cluster = asking.pools.closing, asking.pools.settings.cluster

    @router.get("/v1/report")
    async def report(
        period: Annotated[str, Query(max_length=32)] = "",
        start: Annotated[int, Query(alias="from", ge=0, le=_LATEST)] = 0,
        end: Annotated[int, Query(alias="to", ge=0, le=_LATEST)] = 0,
        compare: Annotated[Literal["", "previous"], Query()] = "",
        asker: QueryCaller = known,
    ) -> Response:
        return await asker.answer_all(
            "report", long=True, period=period, start=start, end=end, compare=compare == "previous"
        )

    @router.get("/v1/report/closures")
    async def closures(asker: QueryCaller = known) -> Response:
        return await asker.answer_all("closures")

    @router.get("/v1/report/closed")
    async def closed(period: Annotated[str, Query(max_length=32)], asker: QueryCaller = known) -> Response:
        return await asker.answer_all("closed", period=period)

    @router.post("/v1/report/close")
    async def close(asker: QueryCaller = known) -> Response:
        async def store(prepared: bytes) -> bytes:
            async with writing.turn(asker.who):
                return await writing.ask(closed_report, prepared)

        def closed_report(queries: BudgetUseQueries, prepared: bytes) -> bytes:
            made = json.loads(prepared)
            closed = ClosedReport(made["period"], made["closed_at"], made["sha256"], made["report"])
            found = refused(lambda: report_closing.store_closure(queries.book.engine, cluster, closed))
            done = "closed" if found is closed else "closed again with the same content"
            _log.info("the report of %s was %s by %s", closed.period, done, asker.caller.user)
            return encoded(found)

        await asker.authorize_closing("create")
        return await asker.answer("prepare", ClosePeriod, lambda _: {EVERY_NAMESPACE}, long=True, then=store)

    @router.post("/v1/report/reopen")
    async def reopen(asker: QueryCaller = known) -> Response:
        def reopened(queries: BudgetUseQueries, asked: ReopenPeriod) -> bytes:
            engine, now = queries.book.engine, int(asking.now())
            found = refused(lambda: report_closing.reopen_period(engine, cluster, asked.period, now, asked.reason))
            _log.info("the report of %s was reopened by %s", found.period, asker.caller.user)
            return encoded(found)

        await asker.authorize_closing("delete")
        await asker.authorize({EVERY_NAMESPACE})
        asked = await asker.read(ReopenPeriod)
        async with writing.turn(asker.who):
            return asker.respond(await writing.ask(reopened, asked))

    return router


def encoded(closed: ClosedReport) -> bytes:
    """A closed report as JSON. `report` is the hashed text as a string, because parsing could change its bytes."""
    made = {"period": closed.period, "closed_at": closed.closed_at, "sha256": closed.digest, "report": closed.text}
    return json.dumps(made).encode()


def refused(work: Callable[[], _T]) -> _T:
    """The result of `work`. Raises Refusal if a period cannot be reported or closed."""
    try:
        return work()
    except TimeRangeError as error:
        raise Refusal(400, "malformed", str(error)) from None
    except report_closing.NotClosed as error:
        raise Refusal(404, "not_closed", str(error)) from None
    except report_closing.ClosingError as error:
        raise Refusal(422, "unanswerable", str(error)) from None
