"""The controller's questions to the server: one batch for all budgets."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
from pydantic import ValidationError

from carbonbudget_operator.api.query import BudgetAnswers, BudgetQueries, BudgetQuery


class ServerUnavailable(Exception):
    """There is no answer to judge by; one line says why."""


class Server:
    """`trust` gives the PEM bundle of the server's CA, or None while there is none yet."""

    def __init__(self, url: str, token_file: Path | None, trust: Callable[[], str | None]) -> None:
        self._url, self._token_file, self._trust = url.rstrip("/"), token_file, trust
        self._context: tuple[str, ssl.SSLContext] | None = None

    async def ask(self, queries: Sequence[BudgetQuery]) -> BudgetAnswers:
        """Answers in the order of the questions.

        Raises:
            ServerUnavailable: no answer, a refusal, or something else than answers.
        """
        try:
            headers = {"Content-Type": "application/json"}
            if self._token_file is not None:
                headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='ascii').strip()}"
            timeout = aiohttp.ClientTimeout(total=30, sock_connect=5)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    f"{self._url}/v1/budgets/query",
                    data=BudgetQueries(queries=list(queries)).model_dump_json(by_alias=True),
                    headers=headers,
                    ssl=self._tls(),
                ) as response,
            ):
                body = await response.read()
                if response.status != 200:
                    reason = body[:300].decode("utf-8", "replace")
                    raise ServerUnavailable(f"the server answered {response.status}: {reason}")
            answers = BudgetAnswers.model_validate_json(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerUnavailable(f"the server does not answer: {error or type(error).__name__}") from None
        except ValidationError:
            raise ServerUnavailable("the server's answer is not understood: are versions mixed?") from None
        if [answer.id for answer in answers.answers] != [query.id for query in queries]:
            raise ServerUnavailable("the server answered other questions than were asked")
        return answers

    def _tls(self) -> ssl.SSLContext:
        bundle = self._trust()
        if bundle is None:
            raise ServerUnavailable("the server's CA is not known yet")
        if self._context is None or self._context[0] != bundle:
            self._context = (bundle, ssl.create_default_context(cadata=bundle))
        return self._context[1]
