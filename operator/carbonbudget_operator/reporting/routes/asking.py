"""What all questions have in common: who asks, within which limits, with which body, how long the answer took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from carbonbudget_operator.ingest.body import read_body
from carbonbudget_operator.ingest.callers import authenticated, tenant_of
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.shares import Hold
from carbonbudget_operator.kube.access import Access, Caller, Unavailable
from carbonbudget_operator.namespace_names import EVERY_NAMESPACE
from carbonbudget_operator.printable import printable
from carbonbudget_operator.reporting.pools import Pool, Pools, Readers
from carbonbudget_operator.reporting.query import Queries

_P = ParamSpec("_P")
_Question = TypeVar("_Question", bound=BaseModel)
_MAX_REASON = 300
_AUTHORIZE_SECONDS = 5


class Asker:
    """Who asks one question, with what the question may use. `wide`: whether it may be about every namespace."""

    def __init__(self, asking: Asking, request: Request, caller: Caller, wide: bool, who: str, hold: Hold) -> None:
        self.caller, self.wide = caller, wide
        self.readers = asking.pools.cluster_readers if wide else asking.pools.namespace_readers
        self._asking, self._request, self._who, self._hold = asking, request, who, hold

    async def answer(
        self,
        kind: type[_Question],
        namespaces: Callable[[_Question], Iterable[str]],
        work: Callable[[Queries, _Question, Readers], str],
        pool: Pool | None = None,
    ) -> Response:
        """Read the question in the body, authorize it for its namespaces, and answer with the JSON that `work` gives.

        What a question is parsed to is many times its text: it is parsed when its turn has come, not before. `pool` is
        whose turn it waits for; None: that of its readers.

        Raises:
            Refusal: it is malformed, too large, forbidden, or too many are asked.
        """
        given = await read_body(self._request, self._hold, self.readers.share.limits.body)
        pool = pool or self.readers.pool
        async with pool.turn(self._who):
            question = await pool.run(_parse, kind, given)
            # A question about no namespace is answered from the whole cluster's record (`data_through`).
            await self._authorize_in_time(set(namespaces(question)) or {EVERY_NAMESPACE})
            with self._asking.timed(self._request.url.path):
                return self._held(await pool.ask(_encoded, work, question, self.readers))

    async def answer_all(self, work: Callable[[Queries], str], pool: Pool | None = None) -> Response:
        """Answer a question about the whole cluster that has no body. Raises Refusal."""
        await self.authorize({EVERY_NAMESPACE})
        pool = pool or self.readers.pool
        async with pool.turn(self._who):
            with self._asking.timed(self._request.url.path):
                return self._held(await pool.ask(_encoded, work))

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
            if every or not await ask(self._asking.access.may_read_budgets(self.caller, namespace)):
                where = "all namespaces" if every else f"namespace {namespace}"
                raise Refusal(403, "forbidden", f"{self.caller.user} may not get carbonbudgets in {where}")

    async def authorize_closing(self, verb: str) -> None:
        """Refuse unless the caller may do so ("create" or "delete") with closed reports."""
        if not await ask(self._asking.access.may_close_reports(self.caller, verb)):
            raise Refusal(403, "forbidden", f"{self.caller.user} may not {verb} closedreports.carbonbudget.dev")

    def _held(self, text: bytes) -> Response:
        most = self.readers.share.limits.bytes_each
        if len(text) > most:
            reason = f"the answer has {len(text)} bytes, at most {most} are sent at once: ask in parts"
            raise Refusal(422, "unanswerable", reason)
        self._hold.add(len(text))
        return _Answer(text, media_type="application/json")


class Asking:
    """Authenticates, authorizes and reads questions; each endpoint's answers are timed, refusals are counted."""

    def __init__(self, access: Access, registry: CollectorRegistry, pools: Pools) -> None:
        self.access, self.pools = access, pools
        self._seconds = Histogram(
            "carbonbudget_query_duration_seconds", "One question's answer.", ["endpoint"], registry=registry,
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip
        self._refused = Counter(
            "carbonbudget_query_refused", "Questions refused, by reason.", ("reason",), registry=registry
        )

    async def asker(self, request: Request) -> AsyncIterator[Asker]:
        """As a FastAPI dependency: who asks, before anything else is read, until the answer was taken.

        Whether the caller may read the whole cluster decides how much of the server's memory and time it may use.

        Raises:
            Refusal: nobody, or too many questions of this caller, or of all, are under way.
        """
        try:
            caller = await self.caller(request)
            wide = await ask(self.access.may_read_budgets(caller, EVERY_NAMESPACE))
            readers = self.pools.cluster_readers if wide else self.pools.namespace_readers
            who = caller.user if wide else tenant_of(caller.user)
            with readers.share.request(who) as hold:
                yield Asker(self, request, caller, wide, who, hold)
        except Refusal as refusal:
            self._refused.labels(refusal.kind).inc()
            raise

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


async def ask(question: Awaitable[bool]) -> bool:
    """The API server's answer. Raises Refusal."""
    try:
        return await question
    except Unavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None


def _parse(kind: type[_Question], given: bytes) -> _Question:
    try:
        return kind.model_validate_json(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        reason = f"{where}: {' '.join(first['msg'].split())}"
        raise Refusal(400, "malformed", printable(reason, _MAX_REASON)) from None


def _encoded(
    queries: Queries, work: Callable[Concatenate[Queries, _P], str], *args: _P.args, **options: _P.kwargs
) -> bytes:
    return work(queries, *args, **options).encode()
