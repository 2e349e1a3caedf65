"""What all questions have in common: who asks, with which body, how long the answer took."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fastapi import Request
from prometheus_client import CollectorRegistry, Histogram
from pydantic import BaseModel, ValidationError

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access import Access, Caller, Unauthenticated, Unavailable

_Question = TypeVar("_Question", bound=BaseModel)
EVERY_NAMESPACE = ""
_MAX_REASON = 300


class Asking:
    """Authenticates, authorizes and reads questions; each endpoint's answers are timed."""

    def __init__(self, access: Access, registry: CollectorRegistry, max_body_bytes: int) -> None:
        self._access, self._max_body_bytes = access, max_body_bytes
        self._seconds = Histogram(
            "carbonbudget_query_duration_seconds", "One question's answer.", ["endpoint"], registry=registry,
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip

    @contextmanager
    def timed(self, endpoint: str) -> Iterator[None]:
        """Counts the time of an answer, and of a failure to give one."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds.labels(endpoint).observe(time.monotonic() - began)

    async def caller(self, request: Request) -> Caller:
        """Who asks. Raises Refusal."""
        given = token(request)
        try:
            if not given:
                raise Unauthenticated("a bearer token is needed")
            return await self._access.authenticate(given)
        except Unauthenticated as error:
            raise Refusal(401, "unauthenticated", str(error)) from None
        except Unavailable as error:
            raise Refusal(503, "api_server", str(error), 5) from None

    async def read(self, request: Request, kind: type[_Question]) -> _Question:
        """The question in the body. Raises Refusal."""
        given = await body(request, self._max_body_bytes)
        try:
            return kind.model_validate_json(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "body"
            reason = f"{where}: {' '.join(first['msg'].split())}"
            raise Refusal(400, "malformed", reason[:_MAX_REASON]) from None

    async def authorize(self, caller: Caller, namespaces: Iterable[str]) -> bool:
        """Refuse unless the caller may get carbonbudgets in every namespace asked for; whether it may in all.

        EVERY_NAMESPACE asks for all of them.
        """
        if await ask(self._access.may_read_budgets(caller, EVERY_NAMESPACE)):
            return True
        for namespace in sorted(namespaces):
            if not namespace or not await ask(self._access.may_read_budgets(caller, namespace)):
                where = f"namespace {namespace}" if namespace else "all namespaces"
                raise Refusal(403, "forbidden", f"{caller.user} may not get carbonbudgets in {where}")
        return False


async def body(request: Request, max_bytes: int) -> bytes:
    """The body, read no further than it may be long."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise Refusal(413, "too_large", f"the body is larger than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def token(request: Request) -> str:
    """The bearer token, or nothing."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


async def ask(question: Awaitable[bool]) -> bool:
    """The API server's answer. Raises Refusal."""
    try:
        return await question
    except Unavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None
