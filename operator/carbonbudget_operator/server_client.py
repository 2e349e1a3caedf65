"""HTTP client of the server for controller and webhook. They have no other access to the ledger."""

from __future__ import annotations

import io
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError
from yarl import URL

from carbonbudget_core.jsons import mapping, parse_json, text
from carbonbudget_operator.api.adjustment_bodies import AdjustmentsAnswer, AdjustmentsRequest
from carbonbudget_operator.api.budget_query_bodies import (
    BudgetAnswers,
    BudgetQueries,
    BudgetQuery,
    HourlyAnswers,
    RunAnswers,
    RunQueries,
    RunQuery,
)
from carbonbudget_operator.api.grid_bodies import IntensityAnswer, IntensityRow
from carbonbudget_operator.api.projection_bodies import ProjectionAnswer
from carbonbudget_operator.api.target_query_bodies import TargetAnswers, TargetQueries, TargetQuery
from carbonbudget_operator.api.wire_names import UNKNOWN_FIELD

_Answer = TypeVar("_Answer", bound=BaseModel)
_SECONDS: Final = 30.0
_REFUSED: Final = frozenset({400, 413, 422})  # because of what is in the request
_TLS_OBJECT: Final = re.compile(r" ssl:(<[^>]*>|\w+)")
_MOST_PAGES: Final = 20  # of 10,000 rows: twenty zones, several sources, three weeks
PERSONS_SECONDS: Final = 60.0  # a person's question may wait for its turn before it is answered


class ServerUnavailable(Exception):
    """The server gave no usable answer. The message is one line and says why, with addresses, for logs.

    `told`: the same for statuses and Events, which tenants read: the class of the failure, and no address.
    """

    def __init__(self, message: str, told: str = "") -> None:
        super().__init__(message)
        self.told = told or message


class QuestionRefused(ServerUnavailable):
    """The server answers, and not to this request: it is too large, malformed, or asks for what has no answer."""


class UnknownField(QuestionRefused):
    """The server is of an earlier version, and does not know a field of this request.

    `field`: its path with points, for example "queries.3.selector".
    """

    def __init__(self, message: str, told: str, field: str) -> None:
        super().__init__(message, told)
        self.field = field


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """The server's answer as it is, of any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ServerClient:
    """Sends queries to the server. `trust` returns the PEM bundle of the server's CA, or None if there is none yet.

    Each query raises ServerUnavailable if there is no answer, an error status, or an invalid answer. QuestionRefused is
    the one of these for which another request may be answered.
    """

    def __init__(self, url: str, token_file: Path | None, trust: Callable[[], str | None]) -> None:
        self._url, self._token_file, self._trust = url.rstrip("/"), token_file, trust
        self._context: tuple[str, ssl.SSLContext] | None = None

    async def budgets(self, queries: Sequence[BudgetQuery]) -> BudgetAnswers:
        """The emissions of each budget's pods. The answers are in the order of the queries."""
        body = BudgetQueries(queries=list(queries))
        answers = await self._ask("POST", "/v1/budgets/query", body, BudgetAnswers)
        _check_order([query.id for query in queries], [answer.id for answer in answers.answers])
        return answers

    async def hourly(self, queries: Sequence[BudgetQuery]) -> HourlyAnswers:
        """The emissions of each budget's pods by hour, in the order of the queries."""
        body = BudgetQueries(queries=list(queries))
        answers = await self._ask("POST", "/v1/budgets/hours", body, HourlyAnswers)
        _check_order([query.id for query in queries], [answer.id for answer in answers.answers])
        return answers

    async def targets(self, queries: Sequence[TargetQuery]) -> TargetAnswers:
        """The emissions and units of each target's pods. The answers are in the order of the queries."""
        answers = await self._ask("POST", "/v1/targets/query", TargetQueries(queries=list(queries)), TargetAnswers)
        _check_order([query.id for query in queries], [answer.id for answer in answers.answers])
        if any(
            [(span.start, span.end) for span in query.spans] != [(span.start, span.end) for span in answer.spans]
            for query, answer in zip(queries, answers.answers, strict=True)
        ):
            raise ServerUnavailable("the server's answers are of other spans than the queries")
        return answers

    async def runs(self, queries: Sequence[RunQuery]) -> RunAnswers:
        """The emissions of each controller's pods. The answers are in the order of the queries."""
        answers = await self._ask("POST", "/v1/runs/query", RunQueries(queries=list(queries)), RunAnswers)
        _check_order([query.id for query in queries], [answer.id for answer in answers.answers])
        return answers

    async def adjustments(self, request: AdjustmentsRequest) -> AdjustmentsAnswer:
        """Book adjustments of budgets' limits, and get what is booked for the budgets and periods asked for."""
        return await self._ask("POST", "/v1/adjustments", request, AdjustmentsAnswer)

    async def projection(self) -> ProjectionAnswer:
        """The table from which the emissions of new workloads are estimated."""
        return await self._ask("GET", "/v1/projection", None, ProjectionAnswer)

    async def intensity(self, start: int, end: int) -> list[IntensityRow]:
        """Figures and forecast of the grids of the nodes, of the hours that hold these UTC seconds."""
        found: list[IntensityRow] = []
        query = {"from": str(start), "to": str(end), "limit": "10000"}
        for _ in range(_MOST_PAGES):
            page = await self._ask("GET", str(URL("/api/v1/intensity").with_query(query)), None, IntensityAnswer)
            found += page.rows
            if page.next is None:
                break
            query["cursor"] = page.next
        return found

    async def forward(self, address: str, if_none_match: str = "") -> ServerAnswer:
        """The answer to GET of a path with its query, both encoded, whatever its status."""
        headers = {"If-None-Match": if_none_match} if if_none_match else {}
        return await self._send("GET", address, None, headers, PERSONS_SECONDS)

    async def _ask(self, method: str, path: str, body: BaseModel | None, kind: type[_Answer]) -> _Answer:
        data = None if body is None else body.model_dump_json(by_alias=True)
        answer = await self._send(method, path, data, {"Content-Type": "application/json"}, _SECONDS)
        if answer.status != 200:
            reason = answer.body[:300].decode("utf-8", "replace")
            told = f"the server answered {answer.status}: see the controller's log"
            message = f"the server answered {answer.status}: {reason}"
            if answer.status in _REFUSED:
                field = _unknown_field(answer.body)
                raise UnknownField(message, told, field) if field else QuestionRefused(message, told)
            raise ServerUnavailable(message, told)
        try:
            return kind.model_validate_json(answer.body)
        except ValidationError:
            raise ServerUnavailable(
                "the server's answer is invalid: check that all components have one version"
            ) from None

    async def _send(
        self, method: str, path: str, data: str | None, headers: dict[str, str], seconds: float
    ) -> ServerAnswer:
        try:
            if self._token_file is not None:
                headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='ascii').strip()}"
            timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=5)
            url = URL(self._url + path, encoded=True)
            body = None if data is None else io.BytesIO(data.encode())  # aiohttp warns of large bodies in one piece
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method, url, data=body, headers=headers, ssl=self._tls(), allow_redirects=False
                ) as response,
            ):
                return ServerAnswer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: the token is not ASCII
            # aiohttp names the object of its TLS context, which nobody can use and which changes with each start.
            reason = _TLS_OBJECT.sub("", str(error)) or type(error).__name__
            told = "the server does not answer: see the controller's log"
            raise ServerUnavailable(f"the server does not answer: {reason}", told) from None

    def _tls(self) -> ssl.SSLContext:
        # With an empty bundle, Python would trust all CAs of the system.
        bundle = (self._trust() or "").strip()
        if not bundle:
            raise ServerUnavailable("the server's CA is not available yet")
        if self._context is None or self._context[0] != bundle:
            try:
                self._context = (bundle, ssl.create_default_context(cadata=bundle))
            except (ssl.SSLError, TypeError, ValueError):  # TypeError: the bundle is not ASCII
                raise ServerUnavailable("the server's CA bundle cannot be read: is it PEM?") from None
        return self._context[1]


def _unknown_field(body: bytes) -> str:
    """The field that a refusal names as unknown; empty if it is another refusal."""
    try:
        refusal = mapping(parse_json(body))
    except ValueError:
        return ""
    return text(refusal.get("field")) if refusal.get("kind") == UNKNOWN_FIELD else ""


def _check_order(asked: list[str], answered: list[str]) -> None:
    if asked != answered:
        raise ServerUnavailable("the server's answers do not match the queries")
