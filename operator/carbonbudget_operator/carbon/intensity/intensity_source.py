"""The Protocol of intensity sources, and the HTTP client that sources on the network share."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import httpx
from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from carbonbudget_operator.carbon.intensity.hourly_intensity import MAX_MG_PER_KWH, IntensityPoint

_MAX_BODY_BYTES = 4 * 2**20
_MOST_DIGITS = 30
_PATIENCE_SECONDS = 30.0  # after a longer Retry-After the next round tries again


class IntensitySourceError(Exception):
    """A source gave no usable figures. The message is one line. `again`: another attempt may succeed."""

    def __init__(self, message: str, again: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.again, self.retry_after = again, retry_after


class IntensitySource(Protocol):
    """A source of average intensities of zones."""

    @property
    def name(self) -> str:
        """The name of the source in factors."""

    def zone_name(self, zone: str) -> str | None:
        """The source's name of a zone; None if the source is not queried for the zone."""

    @property
    def max_days(self) -> int:
        """The longest time span of one request."""

    async def fetch(self, zone: str, start: int, end: int) -> list[IntensityPoint]:
        """The points that touch [start, end), UTC seconds, of one of its zones. Raises IntensitySourceError."""


@runtime_checkable
class ForecastingSource(IntensitySource, Protocol):
    """A source that also publishes what it expects of the hours to come."""

    async def forecast(self, zone: str, start: int) -> list[IntensityPoint]:
        """The points of the hours from the UTC second `start` (a full hour) on, in the source's order.

        They are what the source sent, unchecked as a series: `expected_hours` does that. Raises IntensitySourceError.
        """


@dataclass(slots=True)
class SourceHttp:
    """An HTTP client for one server, with a limited rate, a few attempts and a deadline.

    A redirect is not followed: it would carry the key to somebody else.
    """

    name: str
    key_file: Path | None = None
    requests_per_minute: int = 30
    timeout_seconds: float = 10.0
    attempts: int = 3
    wait_seconds: float = 1.0
    ca: Path | None = None  # PEM, read at each request; None: the system's
    _limiter: AsyncLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._limiter = AsyncLimiter(self.requests_per_minute, 60)

    def key(self) -> str:
        """The key, read from its file each time because the Secret may change. Raises IntensitySourceError."""
        if self.key_file is None:
            return ""
        try:
            text = self.key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text or not text.isprintable():
            raise IntensitySourceError(f"{self.name}: no key in {self.key_file}: put it into the Secret")
        return text

    async def get(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> Any:
        """The JSON of an answer. Raises IntensitySourceError."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda e: isinstance(e, IntensitySourceError) and e.again),
            stop=stop_after_attempt(self.attempts),
            wait=self._wait,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                async with self._limiter:
                    return await self._once(url, params, headers, auth)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, IntensitySourceError) else 0.0
        backoff = wait_random_exponential(multiplier=self.wait_seconds, max=_PATIENCE_SECONDS)(state)
        return max(asked, backoff)

    async def _once(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str], auth: tuple[str, str] | None
    ) -> Any:
        trust = self._trust()
        try:
            async with (
                asyncio.timeout(self.timeout_seconds),  # for the whole answer: httpx limits each read only
                httpx.AsyncClient(follow_redirects=False, timeout=self.timeout_seconds, verify=trust) as client,
                client.stream(
                    "GET", url, params=params or None, headers={"accept": "application/json", **headers},
                    auth=httpx.BasicAuth(*auth) if auth else None,
                ) as answer,
            ):  # fmt: skip
                if answer.status_code != httpx.codes.OK:
                    raise self._refused(answer)
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MAX_BODY_BYTES:
                        raise IntensitySourceError(f"{self.name}: the answer is longer than {_MAX_BODY_BYTES} bytes")
        except TimeoutError:
            raise IntensitySourceError(
                f"{self.name}: no answer within {self.timeout_seconds:g} s", again=True
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The text of an error may contain the URL, and the URL may contain a key.
            raise IntensitySourceError(f"{self.name}: no answer: {type(error).__name__}", again=True) from None
        try:
            return json.loads(body, parse_int=_whole_number)
        except (ValueError, RecursionError):
            raise IntensitySourceError(f"{self.name}: the answer is not JSON") from None

    def _trust(self) -> ssl.SSLContext | bool:
        if self.ca is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(self.ca))
        except (OSError, ssl.SSLError):
            raise IntensitySourceError(
                f"{self.name}: {self.ca} has no CA certificates: put them into the Secret"
            ) from None

    def _refused(self, answer: httpx.Response) -> IntensitySourceError:
        status = answer.status_code
        if status in (401, 403):
            return IntensitySourceError(
                f"{self.name}: the key is refused ({status}): check the Secret and what it may read"
            )
        if status == 429 or status >= 500:
            after = _seconds(answer.headers.get("retry-after", ""), answer.headers.get("date", ""))
            what = "too many requests" if status == 429 else "the server fails"
            return IntensitySourceError(
                f"{self.name}: {what} ({status})", again=after <= _PATIENCE_SECONDS, retry_after=after
            )
        return IntensitySourceError(f"{self.name}: answered {status}: check its url and zones")


def _whole_number(text: str) -> int | float:
    """A whole number of JSON. One with hundreds of digits is infinite: to calculate with it as a float would fail."""
    return int(text) if len(text) <= _MOST_DIGITS else float(text)


def _seconds(retry_after: str, date: str) -> float:
    """Seconds of the header Retry-After; a date in it is compared with the date of the answer."""
    if retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - parsedate_to_datetime(date)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def milligrams(source: str, g_per_kwh: object) -> int:
    """g/kWh as an integer of mg/kWh. Raises IntensitySourceError for an impossible value."""
    if isinstance(g_per_kwh, bool) or not isinstance(g_per_kwh, int | float):
        raise IntensitySourceError(f"{source}: an intensity is no number")
    if not 0 <= g_per_kwh * 1000 <= MAX_MG_PER_KWH:  # also refuses NaN
        raise IntensitySourceError(f"{source}: an intensity of {g_per_kwh:g} g/kWh cannot be")
    return round(g_per_kwh * 1000)
