"""The gateway of `kubectl carbon ui`: `/api/v1` through the API server's proxy, as the other commands ask the server.

The token that goes to the server is short-lived and has our audience; the kubeconfig's own credentials stay with the
API server.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Final

import httpx

from carbonbudget_operator.api_path import InvalidPath, ServicePath
from carbonbudget_operator.cli.answer_source import AnswerSourceError
from carbonbudget_operator.cli.answers_from_server import SERVICE, TOKEN_HEADER, ApiServerTransport
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.web.gateway import AnswerTooLarge, ApiAnswer, GatewayError, PageCaller, told_bytes

_MOST_BYTES: Final = 64 * 2**20
_TOKEN_USED_SECONDS: Final = 300  # half of the time that a token is good for
_FAILED_SECONDS: Final = 20  # a right that is missing is not asked for again at each part of a page


class KubeconfigGateway:
    """A Gateway. `account` is the service account (namespace, name) whose token goes to the server."""

    def __init__(self, who: Credentials, namespace: str, timeout: float, account: tuple[str, str]) -> None:
        self._who, self._namespace, self._timeout = who, namespace, timeout
        self._account_namespace, self._account = account
        self._minting = asyncio.Lock()
        self._token, self._until = "", 0.0
        self._failure: AnswerSourceError | None = None
        self._failure_until = 0.0
        self._client: httpx.AsyncClient | None = None

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        caller: PageCaller,
        etag: str | None = None,
        most_bytes: int | None = None,
    ) -> ApiAnswer:
        """See Gateway. The caller is always the user of the kubeconfig."""
        try:
            token = await self._fresh_token()
            service = ServicePath(self._namespace, SERVICE, 8443, path).text()
            headers = [*await asyncio.to_thread(self._own_headers), (TOKEN_HEADER, token)]
            if etag:
                headers.append(("If-None-Match", etag))
            answer = await self._ask(
                self._who.url + service, query, headers, _MOST_BYTES if most_bytes is None else most_bytes
            )
        except InvalidPath as error:
            raise GatewayError(f"--server-namespace: {error}") from None
        except AnswerSourceError as error:
            raise _gateway_error(error) from None
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise GatewayError(f"The API server at {self._who.url} cannot be asked: {reason}.") from None
        if answer.status != 200:
            self._check_refusal(answer)
        return answer

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()

    def _own_headers(self) -> list[tuple[str, str]]:
        """What the API server knows the user by. A kubeconfig's program may take a while, so that it has a thread."""
        own = self._who.token()
        return [*self._who.impersonated, *([("Authorization", f"Bearer {own}")] if own else [])]

    async def _fresh_token(self) -> str:
        async with self._minting:
            if self._failure is not None and time.monotonic() < self._failure_until:
                raise self._failure
            if time.monotonic() >= self._until:
                mint = ApiServerTransport(self._who, self._account_namespace, self._timeout).token_of
                try:
                    self._token = await asyncio.to_thread(mint, self._account)
                except AnswerSourceError as error:
                    self._failure, self._failure_until = error, time.monotonic() + _FAILED_SECONDS
                    raise
                self._until = time.monotonic() + _TOKEN_USED_SECONDS
            return self._token

    async def _ask(
        self, url: str, query: Sequence[tuple[str, str]], headers: list[tuple[str, str]], most_bytes: int
    ) -> ApiAnswer:
        if self._client is None:
            verify = await asyncio.to_thread(self._who.ssl_context) if url.startswith("https") else True
            times = httpx.Timeout(self._timeout, connect=min(self._timeout, 10))
            proxy = self._who.proxy or None
            self._client = httpx.AsyncClient(verify=verify, timeout=times, proxy=proxy, trust_env=False)
        async with self._client.stream("GET", url, params=list(query) or None, headers=headers) as response:
            if told_bytes(response.headers.get("content-length", "")) > most_bytes:
                raise AnswerTooLarge(most_bytes)
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > most_bytes:
                    raise AnswerTooLarge(most_bytes)
            names = {name.lower(): value for name, value in response.headers.items()}
            return ApiAnswer(response.status_code, names, bytes(body))

    def _check_refusal(self, answer: ApiAnswer) -> None:
        """A refusal of the API server itself is no answer of ours. Raises GatewayError."""
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            return
        try:
            json.loads(answer.body or b"null")
            ApiServerTransport(self._who, self._namespace, self._timeout).check(
                answer.status, answer.body, "get services/proxy", self._account
            )
        except AnswerSourceError as error:
            raise _gateway_error(error) from None
        except (ValueError, RecursionError):
            return


def _gateway_error(error: AnswerSourceError) -> GatewayError:
    """With a capital and a full stop, as the page has its sentences."""
    reason = str(error)
    return GatewayError(f"{reason[:1].upper()}{reason[1:].rstrip('.')}.", 403 if error.missing_right else 503)
