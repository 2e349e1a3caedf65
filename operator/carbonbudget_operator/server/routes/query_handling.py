"""What all endpoints for questions share: authentication, authorization, limits, reading bodies, timing answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from typing import Any, TypeVar

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from carbonbudget_operator.api.wire_names import UNKNOWN_FIELD
from carbonbudget_operator.ingest.caller_authentication import authenticated, tenant_of
from carbonbudget_operator.ingest.node_report_body import read_body
from carbonbudget_operator.ingest.proxied_caller import GROUP_HEADER, TOKEN_HEADER, USER_HEADER
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestBytes
from carbonbudget_operator.kube.access_reviews import Access, AccessUnavailable, Caller
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server.public.problem_details import PREFIX
from carbonbudget_operator.server.question import Question
from carbonbudget_operator.server.read_token_check import ReadTokenCheck
from carbonbudget_operator.server.readiness import Readiness
from carbonbudget_operator.server.worker_pools import Answerer, OperatorPool, QueryWorkers, WorkerPools
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

_Question = TypeVar("_Question", bound=BaseModel)
_MAX_REASON = 300
_AUTHORIZE_SECONDS = 5
_IDENTITY_HEADERS = f"Authorization, {TOKEN_HEADER}, {USER_HEADER}, {GROUP_HEADER}"


class QueryCaller:
    """The caller of one request, with its limits. `wide`: whether it may read every namespace.

    `who` is the name that its requests are counted by.
    """

    def __init__(
        self, asking: QueryHandling, request: Request, caller: Caller, wide: bool, who: str, request_bytes: RequestBytes
    ) -> None:
        self.caller, self.wide, self.who = caller, wide, who
        self.readers = asking.readers(caller, wide)
        self._asking, self._request, self._bytes = asking, request, request_bytes

    async def answer(
        self,
        endpoint: str,
        kind: type[_Question],
        namespaces: Callable[[_Question], Iterable[str]],
        given: Callable[[Iterable[str]], Mapping[str, Any]] = lambda _: {},
        before: Callable[[_Question], None] = lambda _: None,
        long: bool = False,
        then: Callable[[bytes], Awaitable[bytes]] | None = None,
        operator_pool: OperatorPool | None = None,
    ) -> Response:
        """Read the question in the body, authorize it for its namespaces, and answer it.

        A parsed question takes many times the memory of its text, so it is parsed when its turn has come. `given`
        returns what is added to the question, by its namespaces. `before` is called for the operator's questions only,
        in a thread of the operator's pool, and may write to the ledger. `then` turns the answer into the one to send.
        `operator_pool` replaces the operator's pool for questions whose time must not delay its others.

        Raises:
            Refusal: it is malformed, too large, forbidden, or too many are asked.
        """
        body = await read_body(self._request, self._bytes, self.readers.share.limits.body)
        asked = Question(endpoint, int(self._asking.now()), self.readers.allowance, body)

        async def answered() -> Response:
            pool = self.readers.pool
            if operator_pool is not None and isinstance(pool, OperatorPool):
                pool = operator_pool
            async with pool.turn(self.who, long):
                question = replace(asked, now=int(self._asking.now()))
                # A caller that may read the whole cluster needs no other right: the worker parses its question.
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
                return await self._answer(pool, question, long, then)

        return await self._unless_gone(answered())

    async def read(self, kind: type[_Question]) -> _Question:
        """The body of a request that changes something. Raises Refusal."""
        body = await read_body(self._request, self._bytes, self.readers.share.limits.body)
        return await self.readers.pool.run(parse, kind, body)

    async def answer_all(
        self, endpoint: str, long: bool = False, pool: Answerer | None = None, **given: object
    ) -> Response:
        """Answer a question about the whole cluster that has no body. `pool` replaces the caller's own.

        Raises:
            Refusal: it is forbidden, too many are asked, or it cannot be answered.
        """
        await self.authorize({EVERY_NAMESPACE})
        question = Question(endpoint, int(self._asking.now()), self.readers.allowance, given=given)
        used = pool or self.readers.pool

        async def answered() -> Response:
            async with used.turn(self.who, long):
                return await self._answer(used, question, long)

        return await self._unless_gone(answered())

    async def answer_version(
        self, endpoint: str, given: Mapping[str, object], known: Collection[str], media_type: str
    ) -> Response:
        """Answer a question that has no body and is authorized already, by 304 if the caller has this version of it.

        Raises Refusal.
        """
        question = Question(
            endpoint, int(self._asking.now()), self.readers.allowance, given=given, known=frozenset(known)
        )

        async def answered() -> Response:
            async with self.readers.pool.turn(self.who):
                with self._asking.timed(_template(self._request)):
                    version, is_sent, text = (await self.readers.pool.answer(question)).partition(b"\n")
                    headers = _caching(version.decode())
                    if not is_sent:
                        return Response(status_code=304, headers=headers)
                    return self.respond(text, media_type, headers)

        return await self._unless_gone(answered())

    async def answer_tagged(
        self, endpoint: str, given: Mapping[str, object], known: Collection[str], media_type: str, long: bool = False
    ) -> Response:
        """As `answer_version`, where the answer costs no more than its version would: the tag is a digest of it.

        Raises Refusal.
        """
        question = Question(endpoint, int(self._asking.now()), self.readers.allowance, given=given)

        async def answered() -> Response:
            async with self.readers.pool.turn(self.who, long):
                with self._asking.timed(_template(self._request)):
                    return self.respond_tagged(await self.readers.pool.answer(question, long), known, media_type)

        return await self._unless_gone(answered())

    async def _unless_gone(self, answered: Coroutine[Any, Any, Response]) -> Response:
        """The answer. The work is cancelled when the client ends the connection."""
        answering, gone = asyncio.create_task(answered), asyncio.create_task(self._gone())
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise Refusal(503, "gone", "the client ended the connection")
            return answering.result()
        finally:
            answering.cancel()
            gone.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)

    async def _gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    async def _answer(
        self, pool: Answerer, question: Question, long: bool, then: Callable[[bytes], Awaitable[bytes]] | None = None
    ) -> Response:
        with self._asking.timed(self._request.scope["path"]):
            answer = await pool.answer(question, long)
            return self.respond(answer if then is None else await then(answer))

    async def _authorize_in_time(self, namespaces: Iterable[str]) -> None:
        """The question has its turn meanwhile, so a slow API server would delay the questions that wait."""
        try:
            async with asyncio.timeout(_AUTHORIZE_SECONDS):
                await self.authorize(namespaces)
        except TimeoutError:
            reason = (
                f"the API server did not answer within {_AUTHORIZE_SECONDS} s whether {self.caller.user} may read "
                "these namespaces: ask again, or about fewer namespaces"
            )
            raise Refusal(503, "api_server", reason, 5) from None

    async def authorize(self, namespaces: Iterable[str]) -> None:
        """Refuse unless the caller may get carbonbudgets in every namespace; EVERY_NAMESPACE stands for all of them."""
        for namespace in () if self.wide else sorted(namespaces):
            every = namespace == EVERY_NAMESPACE
            if every or not await access_answer(self._asking.access.may_read_budgets(self.caller, namespace)):
                raise Refusal(403, "forbidden", self.caller.missing_right([namespace]))

    async def authorize_closing(self, verb: str) -> None:
        """Refuse unless the caller may do so ("create" or "delete") with closed reports."""
        if not await access_answer(self._asking.access.may_close_reports(self.caller, verb)):
            raise Refusal(403, "forbidden", f"{self.caller.user} may not {verb} closedreports.carbonbudget.dev")

    async def authorize_importing(self) -> None:
        """Refuse unless the caller may import external figures, and remove them."""
        if not await access_answer(self._asking.access.may_import_figures(self.caller)):
            raise Refusal(403, "forbidden", f"{self.caller.user} may not import carbonbudgets in all namespaces")

    def respond(
        self, text: bytes, media_type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> Response:
        """The response. Its bytes count against the caller's limit until the client has received them.

        Raises:
            Refusal: it is longer than the caller's answers may be, or would exceed the caller's limit.
        """
        most = self.readers.allowance.answer_bytes
        if len(text) > most:
            reason = f"the answer has {len(text)} bytes, at most {most} are sent at once: ask in parts"
            raise Refusal(422, "unanswerable", reason)
        self._bytes.add(len(text))
        return _Answer(text, media_type=media_type, headers=dict(headers or {}))

    def respond_tagged(self, answer: bytes, known: Collection[str], media_type: str) -> Response:
        """The response with a digest of it as its tag, or 304 if the caller has it. Raises Refusal."""
        version = blake2b(media_type.encode() + b" " + answer, digest_size=16).hexdigest()
        headers = _caching(version)
        if version in known:
            return Response(status_code=304, headers=headers)
        return self.respond(answer, media_type, headers)


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
        self.read_tokens = ReadTokenCheck(pools.tokens, pools.settings.cluster, now)
        self._readiness = readiness
        self._seconds = Histogram(
            "carbonbudget_query_duration_seconds", "One question's answer.", ["endpoint"], registry=registry,
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip
        self._refused = Counter(
            "carbonbudget_query_refused", "Questions refused, by reason.", ("reason",), registry=registry
        )

    async def asker(self, request: Request) -> AsyncIterator[QueryCaller]:
        """A FastAPI dependency: the caller, authenticated before its body is read, until it has received the answer.

        Whether the caller may read the whole cluster decides which limits it has.

        Raises:
            Refusal: nobody, or too many questions of this caller, or of all, are under way.
        """
        try:
            caller = await self.caller(request)
            wide = await access_answer(self.access.may_read_budgets(caller, EVERY_NAMESPACE))
            await self._readiness.check()
            readers = self.readers(caller, wide)
            # Controller and webhook are two accounts of one namespace, and each has its own requests counted.
            who = caller.user if readers is self.pools.operator_readers else tenant_of(caller.user)
            with readers.share.request(who) as request_bytes:
                yield QueryCaller(self, request, caller, wide, who, request_bytes)
        except Refusal as error:
            refusal = self._readiness.explain(error)
            self._refused.labels(refusal.kind).inc()
            raise refusal from None

    def readers(self, caller: Caller, wide: bool) -> QueryWorkers:
        """The pool and the limits of this caller."""
        if not wide:
            return self.pools.namespace_readers
        operator = caller.namespaces is None and caller.user in self.pools.settings.server.operator_accounts
        return self.pools.operator_readers if operator else self.pools.cluster_readers

    async def caller(self, request: Request) -> Caller:
        """The authenticated caller. Raises Refusal."""
        public_read = request.method == "GET" and request.scope["path"].startswith(PREFIX)
        if not public_read:
            return await authenticated(self.access, request)
        return await authenticated(
            self.access, request, self.read_tokens.caller, self.pools.settings.server.user_tokens
        )

    @contextmanager
    def timed(self, endpoint: str) -> Iterator[None]:
        """Measure the time of an answer, or of a refusal."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds.labels(endpoint).observe(time.monotonic() - began)


def _caching(version: str) -> Mapping[str, str]:
    return {"ETag": f'"{version}"', "Cache-Control": "private, no-cache", "Vary": _IDENTITY_HEADERS}


def _template(request: Request) -> str:
    """The route's path, so that parameters in it make no series of metrics."""
    return str(getattr(request.scope.get("route"), "path", request.scope["path"]))


class _Answer(Response):
    """A response that ends when the client has received it. Until then its bytes count against the caller's limit."""

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
    """The question in a body. Raises Refusal 400, of the kind `unknown_field` where a field is of a later version."""
    try:
        return kind.model_validate_json(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        reason = printable(f"{where}: {' '.join(first['msg'].split())}", _MAX_REASON)
        if first["type"] == "extra_forbidden":
            raise Refusal(400, UNKNOWN_FIELD, reason, field=printable(where, _MAX_REASON)) from None
        raise Refusal(400, "malformed", reason) from None
