"""Questions of controller and webhook to the server, over REST: the only way to the ledger that they have."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from carbonbudget_operator.api.projection_bodies import ProjectionAnswer
from carbonbudget_operator.api.query_bodies import (
    BudgetAnswers,
    BudgetQueries,
    BudgetQuery,
    HourlyAnswers,
    RunAnswers,
    RunQueries,
    RunQuery,
)

_Answer = TypeVar("_Answer", bound=BaseModel)


class ServerUnavailable(Exception):
    """There is no answer to judge by; one line says why."""


class ServerClient:
    """`trust` gives the PEM bundle of the server's CA, or None while there is none yet.

    Each question raises ServerUnavailable: no answer, a refusal, or something else than answers.
    """

    def __init__(self, url: str, token_file: Path | None, trust: Callable[[], str | None]) -> None:
        self._url, self._token_file, self._trust = url.rstrip("/"), token_file, trust
        self._context: tuple[str, ssl.SSLContext] | None = None

    async def budgets(self, queries: Sequence[BudgetQuery]) -> BudgetAnswers:
        """What each budget's pods emitted; answers in the order of the questions."""
        body = BudgetQueries(queries=list(queries))
        answers = await self._ask("POST", "/v1/budgets/query", body, BudgetAnswers)
        _same([query.id for query in queries], [answer.id for answer in answers.answers])
        return answers

    async def hourly(self, queries: Sequence[BudgetQuery]) -> HourlyAnswers:
        """The same hour by hour."""
        body = BudgetQueries(queries=list(queries))
        answers = await self._ask("POST", "/v1/budgets/hours", body, HourlyAnswers)
        _same([query.id for query in queries], [answer.id for answer in answers.answers])
        return answers

    async def runs(self, queries: Sequence[RunQuery]) -> RunAnswers:
        """What each controller's pods emitted; answers in the order of the questions."""
        answers = await self._ask("POST", "/v1/runs/query", RunQueries(queries=list(queries)), RunAnswers)
        _same([query.id for query in queries], [answer.id for answer in answers.answers])
        return answers

    async def projection(self) -> ProjectionAnswer:
        """The table by which new workloads' emissions are expected."""
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
            raise ServerUnavailable("the server's answer is not understood: are versions mixed?") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: a token that is no text
            raise ServerUnavailable(f"the server does not answer: {str(error) or type(error).__name__}") from None

    def _tls(self) -> ssl.SSLContext:
        # Without any certificate Python would trust all CAs of the system.
        bundle = (self._trust() or "").strip()
        if not bundle:
            raise ServerUnavailable("the server's CA is not known yet")
        if self._context is None or self._context[0] != bundle:
            try:
                self._context = (bundle, ssl.create_default_context(cadata=bundle))
            except (ssl.SSLError, TypeError, ValueError):  # TypeError: letters beyond ASCII
                raise ServerUnavailable("the server's CA bundle cannot be read: is it PEM?") from None
        return self._context[1]


def trust_in(ca_file: Path) -> Callable[[], str | None]:
    """The CA bundle of a file, read each time, as the controller writes and renews it; None while there is none."""

    def trust() -> str | None:
        try:
            return ca_file.read_text(encoding="ascii").strip() or None
        except (OSError, ValueError):  # ValueError: no text
            return None

    return trust


def _same(asked: list[str], answered: list[str]) -> None:
    if asked != answered:
        raise ServerUnavailable("the server answered other questions than were asked")
