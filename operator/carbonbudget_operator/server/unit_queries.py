"""The HTTP client of the Prometheus that counts units: one query, bounded in time and size, and what its failure means.

A redirect is not followed: it would carry the token to somebody else. Answers are asked for uncompressed, so that the
limit of bytes is one of memory.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import httpx

from carbonbudget_core import jsons
from carbonbudget_operator.exports.export_target_http import TargetAway, innermost_cause, retry_seconds, secret_of
from carbonbudget_operator.printable import printable
from carbonbudget_operator.unit_settings import UnitSettings

_MOST_ERROR_BYTES: Final = 4096
_MOST_SHOWN: Final = 200


class QueryFailed(Exception):
    """There is no usable answer to a query; the message says why.

    `asked_seconds`: the store's Retry-After. `of_counter`: the store answers, and refuses this query.
    """

    def __init__(self, message: str, asked_seconds: int = 0, of_counter: bool = False) -> None:
        super().__init__(message)
        self.asked_seconds, self.of_counter = asked_seconds, of_counter


class UnitQueries:
    """Asks one store. The connections are kept between queries."""

    def __init__(self, settings: UnitSettings) -> None:
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def ask(self, query: str, at: int) -> bytes:
        """The body of the answer to an instant query at a UTC second. Raises QueryFailed."""
        seconds = self._settings.timeout_seconds
        try:
            async with asyncio.timeout(seconds):  # for all of it: httpx limits each read only
                return await self._ask(query, at)
        except TimeoutError:
            raise QueryFailed(f"Prometheus does not answer within {seconds:g} s (units.timeout_seconds)") from None
        except TargetAway as error:
            raise QueryFailed(str(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise QueryFailed(f"Prometheus does not answer: {innermost_cause(error)}") from None

    async def _ask(self, query: str, at: int) -> bytes:
        settings = self._settings
        auth = None
        if settings.password_file is not None:
            auth = httpx.BasicAuth(settings.username, secret_of(settings.password_file))
        # partial_response: Thanos fails where it would else leave out the series of a store that is away.
        form = {
            "query": query, "time": str(at), "timeout": f"{settings.timeout_seconds:g}s", "partial_response": "false",
        }  # fmt: skip
        url = f"{settings.url}/api/v1/query"
        client = await self._open()
        async with client.stream("POST", url, data=form, headers=self._headers(), auth=auth) as answer:
            is_good = answer.status_code == httpx.codes.OK
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise QueryFailed("the answer is compressed, which was not asked for: check what is at units.url")
            limit = settings.max_response_bytes if is_good else _MOST_ERROR_BYTES
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > limit:
                    break
        if not is_good:
            raise _refused(answer, bytes(body[:limit]))
        if len(body) > limit:
            raise QueryFailed(
                f"the answer is longer than {limit} bytes: narrow the counter by matchLabels, scrape it more seldom, "
                "or raise units.max_response_bytes",
                of_counter=True,
            )
        return bytes(body)

    def _headers(self) -> dict[str, str]:
        settings = self._settings
        found = {**settings.headers, "Accept": "application/json", "Accept-Encoding": "identity"}
        if settings.tenant:
            found["X-Scope-OrgID"] = settings.tenant
        if settings.token_file is not None:
            found["Authorization"] = f"Bearer {secret_of(settings.token_file)}"
        return found

    async def _open(self) -> httpx.AsyncClient:
        """The client; it is closed after a round with failures."""
        async with self._opening:
            if self._client is None:
                ca = self._settings.ca
                try:  # in a thread: the system's certificates take a tenth of a second, in which no report is received
                    verify = await asyncio.to_thread(ssl.create_default_context, cafile=None if ca is None else str(ca))
                except (OSError, ssl.SSLError):
                    raise QueryFailed(f"{ca} has no CA certificates: put them into the Secret") from None
                most = self._settings.queries_at_once
                self._client = httpx.AsyncClient(
                    verify=verify, follow_redirects=False, timeout=self._settings.timeout_seconds,
                    limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
                )  # fmt: skip
        return self._client

    async def close(self) -> None:
        """Close the connections, while no query runs; the next one opens another, and reads a renewed CA."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _refused(answer: httpx.Response, body: bytes) -> QueryFailed:
    """What an answer with another status than 200 means. Prometheus says why in JSON."""
    status = answer.status_code
    said = jsons.text(jsons.parse_object(body).get("error")) or body.decode("utf-8", "replace").strip()
    reason = f"Prometheus answers {status}{': ' if said else ''}{printable(said, _MOST_SHOWN)}"
    if status in (401, 403):
        return QueryFailed(f"{reason}; check units.token_file or units.password_file, and what it may read")
    if status == 429 or status >= 500:
        after = retry_seconds(answer.headers.get("retry-after", ""), answer.headers.get("date", ""))
        return QueryFailed(reason, after)
    if status in (400, 413, 422):
        return QueryFailed(reason, of_counter=True)
    return QueryFailed(f"{reason}; check units.url")
