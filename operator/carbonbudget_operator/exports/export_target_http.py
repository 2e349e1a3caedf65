"""The HTTP client of one target: one request at a time, each with a deadline, and what its answer means.

A redirect is not followed: it would carry the token to somebody else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx

from carbonbudget_operator.export_settings import ExportTargetSettings, InfluxTargetSettings
from carbonbudget_operator.printable import printable

# What is wrong is in the body of the request; sending the same one again cannot help.
_ABOUT_THE_ROWS: Final = (400, 413, 422)
_MAX_ANSWER_BYTES: Final = 4096
_MAX_SHOWN: Final = 200


class TargetAway(Exception):
    """The target takes nothing now; the message says why. `asked_seconds`: its Retry-After."""

    def __init__(self, message: str, asked_seconds: int = 0) -> None:
        super().__init__(message)
        self.asked_seconds = asked_seconds


@dataclass(frozen=True, slots=True)
class RowsRefused:
    """The target refuses these rows and may take others. `reason` is what it answered.

    `is_too_large`: it refuses the size of the body; fewer rows may fit.
    """

    reason: str
    is_too_large: bool = False


class TargetHttp:
    """Sends bodies to one target."""

    def __init__(self, target: ExportTargetSettings, url: str, headers: Mapping[str, str]) -> None:
        self._target, self._url, self._headers = target, url, headers
        self._params, self._accepted = _address(target)
        self._client: httpx.AsyncClient | None = None

    async def send(self, body: bytes) -> RowsRefused | None:
        """Send one body; None if the target has it. Raises TargetAway."""
        try:
            async with asyncio.timeout(self._target.timeout_seconds):  # for all of it: httpx limits each read only
                return await self._send(body)
        except TimeoutError:
            await self.close()
            raise TargetAway(f"no answer within {self._target.timeout_seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            await self.close()
            raise TargetAway(f"no answer: {innermost_cause(error)}") from None

    async def _send(self, body: bytes) -> RowsRefused | None:
        headers = {**self._headers, **self._signed_in()}
        auth = None
        if self._target.password_file is not None:
            auth = httpx.BasicAuth(self._target.username, secret_of(self._target.password_file))
        client = self._open()
        async with client.stream(
            "POST", self._url, content=body, params=self._params, headers=headers, auth=auth
        ) as answer:
            text = b""
            async for part in answer.aiter_raw():
                text += part
                if len(text) > _MAX_ANSWER_BYTES:
                    break
        return self._meaning(answer, text[:_MAX_ANSWER_BYTES])

    def _open(self) -> httpx.AsyncClient:
        """The client; made anew after a failure, so that a renewed CA is read."""
        if self._client is None:
            ca = self._target.ca
            try:
                verify = ssl.create_default_context(cafile=None if ca is None else str(ca))
            except (OSError, ssl.SSLError):
                raise TargetAway(f"{ca} has no CA certificates: put them into the Secret") from None
            self._client = httpx.AsyncClient(
                verify=verify, follow_redirects=False, timeout=self._target.timeout_seconds,
                limits=httpx.Limits(max_connections=1),
            )  # fmt: skip
        return self._client

    async def close(self) -> None:
        """Close the connection; the next body opens another one."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _signed_in(self) -> dict[str, str]:
        found = {"X-Scope-OrgID": self._target.tenant} if self._target.tenant else {}
        if self._target.token_file is not None:
            scheme = "Token" if isinstance(self._target, InfluxTargetSettings) else "Bearer"
            found["Authorization"] = f"{scheme} {secret_of(self._target.token_file)}"
        return found

    def _meaning(self, answer: httpx.Response, text: bytes) -> RowsRefused | None:
        status = answer.status_code
        if status in self._accepted:
            return None
        said = printable(text.decode("utf-8", "replace").strip(), _MAX_SHOWN) if text else ""
        reason = f"it answers {status}{': ' if said else ''}{said}"
        if status in _ABOUT_THE_ROWS:
            return RowsRefused(reason, status == 413)
        if status in (401, 403):
            raise TargetAway(f"{reason}; check its token or password, and what it may write")
        if status == 429 or status >= 500:
            after = retry_seconds(answer.headers.get("retry-after", ""), answer.headers.get("date", ""))
            raise TargetAway(reason, after)
        raise TargetAway(f"{reason}; check its url, database, org and bucket")


def _address(target: ExportTargetSettings) -> tuple[dict[str, str], frozenset[int]]:
    """The query parameters, and the statuses that mean success.

    InfluxDB answers 204. A 200 there is of somebody else, such as a proxy's page for signing in.
    """
    if not isinstance(target, InfluxTargetSettings):
        return {}, frozenset((200, 202, 204))
    if target.database:
        params = {"db": target.database, "rp": target.retention_policy, "precision": "s"}
    else:
        params = {"org": target.org, "bucket": target.bucket, "precision": "s"}
    return {name: value for name, value in params.items() if value}, frozenset((204,))


def write_url(target: InfluxTargetSettings) -> str:
    """Where line protocol is sent: the v1 address for a database, the v2 address for a bucket."""
    return target.url + ("/write" if target.database else "/api/v2/write")


def secret_of(file: Path) -> str:
    """Read anew for each request, because the Secret may change. Raises TargetAway."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text or not text.isprintable() or not text.isascii():
        raise TargetAway(f"no token or password in {file}: put it into the Secret")
    return text


def innermost_cause(error: Exception) -> str:
    """The innermost cause's own words, without a URL."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return printable(str(error), _MAX_SHOWN) or type(error).__name__


def retry_seconds(retry_after: str, date: str) -> int:
    """Seconds of the header Retry-After; a date in it is compared with the date of the answer."""
    if retry_after.isascii() and retry_after.isdecimal():
        return int(retry_after[:9])
    try:
        return max(0, int((parsedate_to_datetime(retry_after) - parsedate_to_datetime(date)).total_seconds()))
    except (ValueError, TypeError, OverflowError):
        return 0
