"""Asks carbonbudget's server over TLS, with the token of the user whose page is made.

It has no token of its own. Users of a trusted proxy have none either: they are stated over a client certificate.
Answers are limited in size and time, so that no question takes the memory of the others. Each user has a part of the
turns and of the memory; who signs in is not known yet, and has turns apart.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from carbonbudget_operator.logs import LogRateLimit
from carbonbudget_operator.web.gateway import AnswerTooLarge, ApiAnswer, GatewayError, PageCaller, told_bytes
from carbonbudget_operator.web.metrics import WebMetrics
from carbonbudget_operator.web.user_turns import UserShare, UserTurns

# The server lets a question wait for 20 s and take 30 s by default, and then answers 503 itself.
_log = logging.getLogger(__name__)
_lines = LogRateLimit(1)
_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
_TOTAL_SECONDS: Final = 70.0
_CONNECT_SECONDS: Final = 5.0
_TURN_SECONDS: Final = 10.0
_MOST_AT_ONCE: Final = 16
_MOST_EACH: Final = 4
_MOST_SIGN_INS: Final = 4
_MOST_BYTES: Final = 16 * 2**20
_MOST_BYTES_AT_ONCE: Final = 48 * 2**20
_MOST_BYTES_EACH: Final = 24 * 2**20
_IDLE_SECONDS: Final = 60.0  # the server closes an idle connection after 75 s
_PATH: Final = re.compile(r"/api/v1(/(?!\.{1,2}(/|$))[A-Za-z0-9._~%:@-]+)+")


_Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ClientPair:
    """The files of a client certificate and its private key, PEM. The controller may renew them at any time."""

    certificate: Path
    key: Path

    def read(self) -> bytes:
        """Both files; empty if one of them cannot be read."""
        try:
            return self.certificate.read_bytes() + self.key.read_bytes()
        except OSError:
            return b""


class ServerGateway:
    """Forwards GET requests to `/api/v1`. `trust` returns the PEM bundle of the server's CA, or None without one."""

    def __init__(
        self, url: str, trust: Callable[[], str | None], metrics: WebMetrics, pair: ClientPair | None = None
    ) -> None:
        """`pair`: the client certificate by which the server believes the users of a trusted proxy."""
        self._url, self._trust, self._metrics, self._pair = url.rstrip("/"), trust, metrics, pair
        self._turns = UserTurns(_MOST_AT_ONCE, _MOST_EACH)
        self._sign_ins = UserTurns(_MOST_SIGN_INS, _MOST_SIGN_INS)
        self._bytes = 0  # received for the answers that are under way
        self._current: _Client | None = None

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        caller: PageCaller,
        etag: str | None = None,
        most_bytes: int | None = None,
    ) -> ApiAnswer:
        """The answer to one GET. Raises GatewayError where there is none."""
        decoded = path.replace("%2e", ".").replace("%2E", ".")
        if _PATH.fullmatch(decoded) is None:
            raise GatewayError("This address is not one of the server's: go back and choose again.")
        headers = [("Accept-Encoding", "identity"), *self._who(caller)]
        if etag:
            headers.append(("If-None-Match", etag))
        began = time.perf_counter()
        code = "none"
        try:
            async with self._turn(caller) as share, asyncio.timeout(_TOTAL_SECONDS), self._client() as client:
                url = httpx.URL(self._url + path, params=list(query))
                answer = await self._ask(client, url, headers, share, _MOST_BYTES if most_bytes is None else most_bytes)
            code = str(answer.status)
        except AnswerTooLarge:
            code = "too_large"
            raise
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, UnicodeError) as error:
            # Its words may name the server's address, and readers of the page may be tenants.
            if _lines.admit(time.monotonic()) is not None:
                _log.warning("the server does not answer: %s", str(error) or type(error).__name__)
            told = _UNTRUSTED if _UNTRUSTED in str(error) else type(error).__name__
            raise GatewayError(f"The server does not answer ({told}): try again in a minute.") from None
        finally:
            self._metrics.questions.labels(code).inc()
            self._metrics.question_seconds.observe(time.perf_counter() - began)
        return answer

    def _who(self, caller: PageCaller) -> Sequence[tuple[str, str]]:
        if caller.token:
            return [("Authorization", f"Bearer {caller.token}")]
        if self._pair is None or not caller.user:
            raise GatewayError("There is no token to ask the server with: sign in again.", 401)
        return [("X-Remote-User", caller.user), *(("X-Remote-Group", group) for group in caller.groups)]

    def ready(self) -> bool:
        """Whether there is a CA to verify the server by."""
        return bool((self._trust() or "").strip())

    async def close(self) -> None:
        """Close all connections."""
        if self._current is not None:
            await self._current.client.aclose()
            self._current = None

    async def _ask(
        self, client: httpx.AsyncClient, url: httpx.URL, headers: _Headers, share: UserShare, most_bytes: int
    ) -> ApiAnswer:
        try:
            return await self._receive(client, url, headers, share, most_bytes)
        except httpx.RemoteProtocolError:  # the server closed the idle connection meanwhile
            return await self._receive(client, url, headers, share, most_bytes)

    async def _receive(
        self, client: httpx.AsyncClient, url: httpx.URL, headers: _Headers, share: UserShare, most_bytes: int
    ) -> ApiAnswer:
        body = bytearray()
        try:
            async with client.stream("GET", url, headers=list(headers)) as response:
                if told_bytes(response.headers.get("content-length", "")) > most_bytes:
                    raise AnswerTooLarge(most_bytes)
                async for part in response.aiter_raw():
                    body += part
                    self._bytes += len(part)
                    share.bytes += len(part)
                    if len(body) > most_bytes:
                        raise AnswerTooLarge(most_bytes)
                    if share.bytes > _MOST_BYTES_EACH:
                        raise GatewayError("Too many large answers of yours are under way: try again in a minute.")
                    if self._bytes > _MOST_BYTES_AT_ONCE:
                        raise GatewayError("Too many large answers are under way: try again in a minute.")
                return ApiAnswer(response.status_code, _lower(response.headers), bytes(body))
        finally:
            self._bytes -= len(body)
            share.bytes -= len(body)

    @asynccontextmanager
    async def _turn(self, caller: PageCaller) -> AsyncIterator[UserShare]:
        user = caller.user or caller.name
        turns = self._turns if user else self._sign_ins
        async with AsyncExitStack() as held:
            try:
                share = await held.enter_async_context(turns.turn(user, _TURN_SECONDS))
            except TimeoutError:
                raise GatewayError("Too many questions are under way: try again in a minute.") from None
            yield share

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        """The client that trusts the present CA. The previous one is closed after its last question."""
        # With an empty bundle, Python would trust all CAs of the system.
        bundle = (self._trust() or "").strip()
        if not bundle:
            raise GatewayError("The CA of the server is not available yet: try again in a minute.")
        certificate = self._pair.read() if self._pair is not None else b""
        former = self._current
        if former is None or (former.bundle, former.certificate) != (bundle, certificate):
            self._current = _Client(bundle, certificate, self._pair)
            if former is not None:
                await former.retire()
        client = self._current
        assert client is not None
        client.users += 1
        try:
            yield client.client
        finally:
            client.users -= 1
            if client.retired:
                await client.retire()


class _Client:
    """The connections of one CA bundle and one client certificate."""

    def __init__(self, bundle: str, certificate: bytes, pair: ClientPair | None) -> None:
        self.bundle, self.certificate, self.users, self.retired = bundle, certificate, 0, False
        try:
            context = ssl.create_default_context(cadata=bundle)
        except (ssl.SSLError, TypeError, ValueError):  # TypeError: the bundle is not ASCII
            raise GatewayError("The CA bundle of the server cannot be read: is it PEM?") from None
        if pair is not None:
            try:
                context.load_cert_chain(pair.certificate, pair.key)
            except OSError as error:  # ssl.SSLError is one
                raise GatewayError(f"The client certificate of the page cannot be loaded: {error}.") from None
        self.client = httpx.AsyncClient(
            verify=context,
            timeout=httpx.Timeout(_TOTAL_SECONDS, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=_MOST_AT_ONCE + _MOST_SIGN_INS, keepalive_expiry=_IDLE_SECONDS),
            trust_env=False,  # tokens go to no proxy
            follow_redirects=False,
        )

    async def retire(self) -> None:
        self.retired = True
        if self.users == 0:
            await self.client.aclose()


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
