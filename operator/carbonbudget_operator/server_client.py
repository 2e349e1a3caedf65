"""HTTP client of the server for controller and webhook. They have no other access to the ledger."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from carbonbudget_operator.api.budget_query_bodies import (
    BudgetAnswers,
    BudgetQueries,
    BudgetQuery,
    HourlyAnswers,
    RunAnswers,
    RunQueries,
    RunQuery,
)
from carbonbudget_operator.api.projection_bodies import ProjectionAnswer

_Answer = TypeVar("_Answer", bound=BaseModel)


class ServerUnavailable(Exception):
    """The server gave no usable answer. The message is one line and says why."""


class ServerClient:
    """Sends queries to the server. `trust` returns the PEM bundle of the server's CA, or None if there is none yet.

    Each query raises ServerUnavailable if there is no answer, an error status, or an invalid answer.
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

    async def runs(self, queries: Sequence[RunQuery]) -> RunAnswers:
        """The emissions of each controller's pods. The answers are in the order of the queries."""
        answers = await self._ask("POST", "/v1/runs/query", RunQueries(queries=list(queries)), RunAnswers)
        _check_order([query.id for query in queries], [answer.id for answer in answers.answers])
        return answers

    async def projection(self) -> ProjectionAnswer:
        """The table from which the emissions of new workloads are estimated."""
        return await self._ask("GET", "/v1/projection", None, ProjectionAnswer)

    async def _ask(self, method: str, path: str, body: BaseModel | None, kind: type[_Answer]) -> _Answer:
        try:
            headers = {"Content-Type": "application/json"}
            if self._token_file is not None:
                headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='ascii').strip()}"
            timeout = aiohttp.ClientTimeout(total=30, sock_connect=5)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method,
                    self._url + path,
                    data=None if body is None else body.model_dump_json(by_alias=True),
                    headers=headers,
                    ssl=self._tls(),
                ) as response,
            ):
                answer = await response.read()
                if response.status != 200:
                    reason = answer[:300].decode("utf-8", "replace")
                    raise ServerUnavailable(f"the server answered {response.status}: {reason}")
            return kind.model_validate_json(answer)
        except ValidationError:
            raise ServerUnavailable(
                "the server's answer is invalid: check that all components have one version"
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: the token is not ASCII
            raise ServerUnavailable(f"the server does not answer: {str(error) or type(error).__name__}") from None

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


def _check_order(asked: list[str], answered: list[str]) -> None:
    if asked != answered:
        raise ServerUnavailable("the server's answers do not match the queries")
