"""One thin asynchronous client for the Kubernetes API, on aiohttp (which kopf brings anyway).

Why not the official client here: its models cost each process about 40 MB and block the event loop;
these processes send a handful of request kinds as plain JSON. The official client still reads
kubeconfigs (exec plugins, client certificates) when a process runs outside the cluster.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Self

import aiohttp

from carbonbudget_operator.kube.credentials import Credentials, find_credentials
from carbonbudget_operator.kube.watched import Watched, Watches

MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_WATCH_SECONDS = 300
_SILENCE_SECONDS = 70  # bookmarks come every minute: longer silence is a half-open connection
_FIRST_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 30.0
_GONE = 410
# No answer, or asked to wait: the version is still good. All else may be a refusal of the version.
_GOES_ON = frozenset({0, 429})
_OPENED = "OPENED"  # the API server has no such event

_log = logging.getLogger(__name__)

JsonObject = dict[str, object]


class KubeError(Exception):
    """The API server refused or could not be reached. `status` is the HTTP code, 0 if unreachable."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came, whatever its status; `warnings` are its Warning headers' values."""

    status: int
    reason: str
    warnings: tuple[str, ...]
    text: str


class KubeClient:
    """Requests, paged lists and endless watches, in JSON objects."""

    def __init__(self, credentials: Credentials, session: aiohttp.ClientSession) -> None:
        self._credentials = credentials
        self._session = session
        self.watches = Watches()

    @classmethod
    def from_environment(cls) -> Self:
        """The pod's service account, else the current kubeconfig. Call it inside a running loop.

        Raises:
            KubeError: neither is there.
        """
        try:
            credentials = find_credentials()
        except ValueError as error:
            raise KubeError(0, str(error)) from None
        return cls.connect(credentials)

    @classmethod
    def connect(cls, credentials: Credentials) -> Self:
        """A client for explicit credentials."""
        tls: ssl.SSLContext | bool = credentials.ssl_context() if credentials.url.startswith("https") else False
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=32),
            timeout=aiohttp.ClientTimeout(total=30, sock_connect=10),
            headers={"User-Agent": "carbonbudget"},
        )
        return cls(credentials, session)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        if self._credentials.url.startswith("https"):
            # aiohttp waits for no TLS connection to end (its documentation, "Graceful shutdown"): a loop that ended
            # now would leave their sockets open.
            await asyncio.sleep(0.25)

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> JsonObject:
        """One request; the answer's JSON object. `accept`: METADATA asks for an object's metadata alone.

        Raises:
            KubeError: any status of 400 and above (with the API server's message), or no answer.
        """
        answer = await self.exchange(method, path, body, params, content_type, accept)
        if answer.status >= 400:
            raise KubeError(answer.status, _message(answer.text, answer.reason))
        try:
            value = json.loads(answer.text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise KubeError(0, f"the API server answered {method} {path} with something else than a JSON object")
        return value

    async def exchange(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Answer:
        """One request; the answer with its warnings, also a refusal.

        Raises:
            KubeError: no answer.
        """
        data = None if body is None else json.dumps(body)
        headers = self._headers() | {"Content-Type": content_type, "Accept": accept}
        try:
            async with self._session.request(
                method, self._credentials.url + path, data=data, params=params, headers=headers
            ) as response:
                text = await response.text(errors="replace")
                warnings = tuple(response.headers.getall("Warning", ()))
                return Answer(response.status, response.reason or "", warnings, text)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(0, f"no answer from the API server: {_name(error)}") from error

    async def list(
        self, path: str, params: Mapping[str, str] | None = None, page: int = 500, metadata_only: bool = False
    ) -> AsyncIterator[JsonObject]:
        """All items of a collection, read in pages so that no answer is huge."""
        async for answer in self._pages(path, params or {}, page, _METADATA_LIST if metadata_only else JSON):
            for item in _items(answer):
                yield item

    async def watch(
        self, path: str, params: Mapping[str, str] | None = None, metadata_only: bool = False
    ) -> AsyncIterator[tuple[str, JsonObject | None]]:
        """List, then watch, for ever.

        `("LISTING", None)`, `("ADDED", object)` for each, `("LISTED", None)`, then the changes. A watch that
        ends or is dropped goes on where it was: proxies cut what is silent, and a list of all Jobs is dear. After
        410 Gone, or any refusal to go on, it lists again: what was not seen between the two marks is gone, its
        end was missed. Pauses double while nothing comes; the first failure of an outage is logged. It ends only
        when it is closed.
        """
        with self.watches.of(path) as watched:
            async with aclosing(self._watch(path, params or {}, metadata_only, watched)) as events:
                async for event in events:
                    yield event

    async def _watch(
        self, path: str, params: Mapping[str, str], metadata_only: bool, watched: Watched
    ) -> AsyncGenerator[tuple[str, JsonObject | None]]:
        listed_as, changed_as = (_METADATA_LIST, METADATA) if metadata_only else (JSON, JSON)
        version: str | None = None  # from where to go on; None: list first
        outage = _Outage(path)
        while True:
            opened_at: float | None = None
            failure: KubeError | None = None
            try:
                if version is None:
                    yield "LISTING", None
                    listed = ""
                    async for answer in self._pages(path, params, 500, listed_as):
                        listed = _metadata(answer, "resourceVersion")
                        for item in _items(answer):
                            yield "ADDED", item
                    version = listed
                    watched.is_current()
                    yield "LISTED", None
                async for event, changed in self._stream(path, params, version, changed_as):
                    if event == _OPENED:
                        opened_at = time.monotonic()
                        continue
                    outage.over()
                    watched.is_current()
                    version = _metadata(changed, "resourceVersion") or version
                    if event != "BOOKMARK":
                        yield event, changed
            except KubeError as error:
                failure = error
                if error.status not in _GOES_ON:
                    version = None
            if opened_at is not None and time.monotonic() - opened_at >= _MAX_BACKOFF_SECONDS:
                outage.over()  # it held for a while, whatever ended it
            await outage.pause(failure)

    async def _pages(
        self, path: str, params: Mapping[str, str], page: int, accept: str = JSON
    ) -> AsyncIterator[JsonObject]:
        token = ""
        while True:
            query = {**params, "limit": str(page)} | ({"continue": token} if token else {})
            answer = await self.request("GET", path, params=query, accept=accept)
            yield answer
            token = _metadata(answer, "continue")
            if not token:
                return

    async def _stream(
        self, path: str, params: Mapping[str, str], version: str, accept: str
    ) -> AsyncIterator[tuple[str, JsonObject]]:
        query = {
            **params,
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=_WATCH_SECONDS + 10, sock_connect=10, sock_read=_SILENCE_SECONDS)
        try:
            async with self._session.get(
                self._credentials.url + path,
                params=query,
                headers=self._headers() | {"Accept": accept},
                timeout=timeout,
            ) as response:
                if response.status >= 400:
                    raise KubeError(response.status, _message(await response.text(), response.reason or ""))
                yield _OPENED, {}
                async for line in _lines(response.content):
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(0, f"the watch broke: {_name(error)}") from error

    def _headers(self) -> dict[str, str]:
        token = self._credentials.token()
        return {"Authorization": f"Bearer {token}"} if token else {}


class _Outage:
    """The pauses of one watch between its attempts, and the one line of the log when they begin to fail."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._pause_s, self._failures, self._told = _FIRST_BACKOFF_SECONDS, 0, False

    def over(self) -> None:
        """Something came."""
        if self._told:
            _log.info("%s is watched again", self._path)
        self._pause_s, self._failures, self._told = _FIRST_BACKOFF_SECONDS, 0, False

    async def pause(self, failure: KubeError | None) -> None:
        """Before the next attempt; None where the last one ended as watches do."""
        if failure is not None and self._failed(failure) and not self._told:
            _log.warning("%s is not watched, tried again until it is: %s", self._path, failure.reason)
            self._told = True
        await asyncio.sleep(self._pause_s * (0.5 + random.random()))  # noqa: S311 - jitter, not secrecy
        self._pause_s = min(self._pause_s * 2, _MAX_BACKOFF_SECONDS)

    def _failed(self, failure: KubeError) -> bool:
        """Whether it is worth a line: one connection that is cut, or one 410, is the life of a watch."""
        self._failures += 1
        return self._failures > 1 or failure.status not in (0, 410)


def _event(line: bytes) -> tuple[str, JsonObject]:
    """One line of a watch. Raises KubeError where it ends the watch: what comes after it cannot be trusted."""
    try:
        event = json.loads(line)
        kind, changed = event["type"], event["object"]
        if not isinstance(kind, str) or not isinstance(changed, dict):
            raise TypeError("type or object is missing")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise KubeError(_GONE, f"a line of the watch is not understood: {_name(error)}") from error
    if kind == "ERROR":
        code = changed.get("code")
        # Whatever it says, it is about the version: 0 and 429 would go on from the same.
        raise KubeError(code if isinstance(code, int) and code not in _GOES_ON else _GONE, str(changed.get("message")))
    return kind, changed


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length: the stream's own readline refuses those above its buffer."""
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _items(answer: JsonObject) -> list[JsonObject]:
    items = answer.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _metadata(value: JsonObject, key: str) -> str:
    metadata = value.get("metadata")
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else ""


def _name(error: Exception) -> str:
    return str(error) or type(error).__name__  # some of aiohttp's errors have no text


def _message(text: str, reason: str) -> str:
    """The API server's own sentence from a Status object, else the HTTP reason."""
    try:
        value = json.loads(text)
    except ValueError:
        return reason
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) and message else reason
