"""What all questions have in common: who asks, within which limits, with which body, how long the answer took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from carbonbudget_operator.ingest.body import read_body
from carbonbudget_operator.ingest.callers import authenticated, tenant_of
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestBytes
from carbonbudget_operator.kube.access import Access, AccessUnavailable, Caller
from carbonbudget_operator.namespace_names import EVERY_NAMESPACE
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server.pools import OperatorPool, QueryWorkers, Question, WorkerPools
from carbonbudget_operator.server.readiness import Readiness

_Question = TypeVar("_Question", bound=BaseModel)
_MAX_REASON = 300
_AUTHORIZE_SECONDS = 5


class QueryCaller:
    """Who asks one question, with what the question may use. `wide`: whether it may be about every namespace."""

    def __init__(
        self, asking: QueryHandling, request: Request, caller: Caller, wide: bool, who: str, hold: RequestBytes
    ) -> None:
        self.caller, self.wide, self.who = caller, wide, who
        self.readers = asking.readers(caller, wide)
        self._asking, self._request, self._hold = asking, request, hold

    async def answer(
        self,
        endpoint: str,
        kind: type[_Question],
        namespaces: Callable[[_Question], Iterable[str]],
        given: Callable[[Iterable[str]], Mapping[str, Any]] = lambda _: {},
        before: Callable[[_Question], None] = lambda _: None,
        long: bool = False,
        then: Callable[[bytes], Awaitable[bytes]] | None = None,
    ) -> Response:
        """Read the question in the body, authorize it for its namespaces, and answer it.

        What a question is parsed to is many times its text: it is parsed when its turn has come, not before. `given`
        gives what is added to the question, by its namespaces; `before` is called for the operator's alone, in its
        thread, and may write to the ledger. `then` takes the answer and gives the one that is sent.

        Raises:
            Refusal: it is malformed, too large, forbidden, or too many are asked.
        """
        body = await read_body(self._request, self._hold, self.readers.share.limits.body)

        async def answered() -> Response:
            pool = self.readers.pool
            async with pool.turn(self.who, long):
                question = Question(endpoint, int(self._asking.now()), self.readers.allowance, body)
                # Who may read the whole cluster needs no other right: the worker parses its long question.
                if not self.wide or isinstance(pool, OperatorPool):
                    parsed = await pool.run(parse, kind, body)
                    # A question about no namespace is answered from the whole cluster's record (`data_through`).
                    asked_for = set(namespaces(parsed)) or {EVERY_NAMESPACE}
                    await self._authorize_in_time(asked_for)
                    if isinstance(pool, OperatorPool):
                        await pool.ask(lambda _: before(parsed))
                        question = replace(question, parsed=parsed)
                    question = replace(question, given=given(asked_for))
                else:
                    question = replace(question, given=given({EVERY_NAMESPACE}))
                return await self._answer(question, long, then)

        return await self._unless_gone(answered())

    async def read(self, kind: type[_Question]) -> _Question:
        """The body, for who does not ask but changes something. Raises Refusal."""
        body = await read_body(self._request, self._hold, self.readers.share.limits.body)
        return await self.readers.pool.run(parse, kind, body)

    async def answer_all(self, endpoint: str, long: bool = False, **given: object) -> Response:
        """Answer a question about the whole cluster that has no body. Raises Refusal."""
        await self.authorize({EVERY_NAMESPACE})
        question = Question(endpoint, int(self._asking.now()), self.readers.allowance, given=given)

        async def answered() -> Response:
            async with self.readers.pool.turn(self.who, long):
                return await self._answer(question, long)

        return await self._unless_gone(answered())

    async def _unless_gone(self, answered: Coroutine[Any, Any, Response]) -> Response:
        """The answer, as long as its asker is there: nobody waits for a turn, or computes, for one that went away."""
        answering, gone = asyncio.create_task(answered), asyncio.create_task(self._gone())
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise Refusal(503, "gone", "the asker ended the connection")
            return answering.result()
        finally:
            answering.cancel()
            gone.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)

    async def _gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    async def _answer(
        self, question: Question, long: bool, then: Callable[[bytes], Awaitable[bytes]] | None = None
    ) -> Response:
        with self._asking.timed(self._request.url.path):
            answer = await self.readers.pool.answer(question, long)
            return self.held(answer if then is None else await then(answer))

    async def _authorize_in_time(self, namespaces: Iterable[str]) -> None:
        """The others wait for the turn meanwhile: an API server that is slow must not hold them up."""
        try:
            async with asyncio.timeout(_AUTHORIZE_SECONDS):
                await self.authorize(namespaces)
        except TimeoutError:
            reason = f"the API server did not say within {_AUTHORIZE_SECONDS} s what {self.caller.user} may read"
            raise Refusal(503, "api_server", f"{reason}: ask again, or about fewer namespaces", 5) from None

    async def authorize(self, namespaces: Iterable[str]) -> None:
        """Refuse unless the caller may get carbonbudgets in every namespace; EVERY_NAMESPACE stands for all of them."""
        for namespace in () if self.wide else sorted(namespaces):
            every = namespace == EVERY_NAMESPACE
            if every or not await access_answer(self._asking.access.may_read_budgets(self.caller, namespace)):
                where = "all namespaces" if every else f"namespace {namespace}"
                raise Refusal(403, "forbidden", f"{self.caller.user} may not get carbonbudgets in {where}")

    async def authorize_closing(self, verb: str) -> None:
        """Refuse unless the caller may do so ("create" or "delete") with closed reports."""
        if not await access_answer(self._asking.access.may_close_reports(self.caller, verb)):
            raise Refusal(403, "forbidden", f"{self.caller.user} may not {verb} closedreports.carbonbudget.dev")

    async def authorize_importing(self) -> None:
        """Refuse unless the caller may import external figures, and remove them."""
        if not await access_answer(self._asking.access.may_import_figures(self.caller)):
            raise Refusal(403, "forbidden", f"{self.caller.user} may not import carbonbudgets in all namespaces")

    def held(self, text: bytes) -> Response:
        """The answer, which counts as held until the caller took it. Raises Refusal."""
        most = self.readers.allowance.answer_bytes
        if len(text) > most:
            reason = f"the answer has {len(text)} bytes, at most {most} are sent at once: ask in parts"
            raise Refusal(422, "unanswerable", reason)
        self._hold.add(len(text))
        return _Answer(text, media_type="application/json")


class QueryHandling:
    """Authenticates, authorizes and reads questions; each endpoint's answers are timed, refusals are counted."""

    def __init__(
        self,
        access: Access,
        registry: CollectorRegistry,
        pools: WorkerPools,
        readiness: Readiness,
        now: Callable[[], float],
    ) -> None:
        self.access, self.pools, self.now = access, pools, now
        self._readiness = readiness
        self._seconds = Histogram(
            "carbonbudget_query_duration_seconds", "One question's answer.", ["endpoint"], registry=registry,
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip
        self._refused = Counter(
            "carbonbudget_query_refused", "Questions refused, by reason.", ("reason",), registry=registry
        )

    async def asker(self, request: Request) -> AsyncIterator[QueryCaller]:
        """As a FastAPI dependency: who asks, before anything else is read, until the answer was taken.

        Whether the caller may read the whole cluster decides how much of the server's memory and time it may use.

        Raises:
            Refusal: nobody, or too many questions of this caller, or of all, are under way.
        """
        try:
            caller = await self.caller(request)
            wide = await access_answer(self.access.may_read_budgets(caller, EVERY_NAMESPACE))
            await self._readiness.check()
            who = caller.user if wide else tenant_of(caller.user)
            with self.readers(caller, wide).share.request(who) as hold:
                yield QueryCaller(self, request, caller, wide, who, hold)
        except Refusal as error:
            # While the ledger is silent, whatever went wrong on the way went wrong by that.
            refusal = self._readiness.silent or error if error.status == 503 else error
            self._refused.labels(refusal.kind).inc()
            raise refusal from None

    def readers(self, caller: Caller, wide: bool) -> QueryWorkers:
        """Who answers this caller, and within which limits."""
        if not wide:
            return self.pools.namespace_readers
        operator = caller.user in self.pools.settings.server.operator_accounts
        return self.pools.operator_readers if operator else self.pools.cluster_readers

    async def caller(self, request: Request) -> Caller:
        """Who asks. Raises Refusal."""
        return await authenticated(self.access, request)

    @contextmanager
    def timed(self, endpoint: str) -> Iterator[None]:
        """Counts the time of an answer, and of a failure to give one."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds.labels(endpoint).observe(time.monotonic() - began)


class _Answer(Response):
    """It is done when the client has taken it, not when it was written: until then it counts as held."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def access_answer(question: Awaitable[bool]) -> bool:
    """The API server's answer. Raises Refusal."""
    try:
        return await question
    except AccessUnavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None


def parse(kind: type[_Question], given: bytes) -> _Question:
    """The question that a body is. Raises Refusal 400."""
    try:
        return kind.model_validate_json(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        reason = f"{where}: {' '.join(first['msg'].split())}"
        raise Refusal(400, "malformed", printable(reason, _MAX_REASON)) from None
