"""Requests to the Kubernetes API in JSON, on aiohttp (which kopf brings anyway).

Why not the official client here: its models cost each process about 40 MB and block the event loop;
these processes send a handful of request kinds as plain JSON. The official client still reads
kubeconfigs (exec plugins, client certificates) when a process runs outside the cluster.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import aiohttp

from carbonbudget_operator.api_path import ApiPath, InvalidPath
from carbonbudget_operator.kube.credentials import Credentials, find_credentials

MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

JsonObject = dict[str, object]


class KubeError(Exception):
    """The API server refused or could not be reached. `status` is the HTTP code, 0 if unreachable."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ImpossibleName(KubeError):
    """No object can have that path; nobody was asked. For who follows objects it is as good as not found."""

    def __init__(self, reason: str) -> None:
        super().__init__(HTTPStatus.NOT_FOUND, reason)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came, whatever its status; `warnings` are its Warning headers' values."""

    status: int
    reason: str
    warnings: tuple[str, ...]
    text: str


class Connection:
    """Single requests, paged lists and answers without end, with one set of credentials."""

    def __init__(self, credentials: Credentials, session: aiohttp.ClientSession) -> None:
        self._credentials = credentials
        self._session = session

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
        path: ApiPath,
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
        path: ApiPath,
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
                method, self._url(path), data=data, params=params, headers=headers
            ) as response:
                text = await response.text(errors="replace")
                warnings = tuple(response.headers.getall("Warning", ()))
                return Answer(response.status, response.reason or "", warnings, text)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(0, f"no answer from the API server: {name_of(error)}") from error

    async def pages(
        self,
        path: ApiPath,
        params: Mapping[str, str],
        page: int,
        metadata_only: bool = False,
        as_table: bool = False,
    ) -> AsyncIterator[JsonObject]:
        """A collection's lists, of `page` items each, so that no answer is huge. Raises KubeError."""
        accept = TABLE if as_table else _METADATA_LIST if metadata_only else JSON
        token = ""
        while True:
            query = {**params, "limit": str(page)} | ({"continue": token} if token else {})
            answer = await self.request("GET", path, params=query, accept=accept)
            yield answer
            token = metadata_of(answer, "continue")
            if not token:
                return

    @asynccontextmanager
    async def opened(
        self, path: ApiPath, params: Mapping[str, str], accept: str, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """An answer's body as it comes. Raises KubeError: a refusal, or the connection broke, also inside the block."""
        headers = self._headers() | {"Accept": accept}
        try:
            async with self._session.get(self._url(path), params=params, headers=headers, timeout=limits) as response:
                if response.status >= 400:
                    raise KubeError(response.status, _message(await response.text(), response.reason or ""))
                yield response.content
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(0, f"the watch broke: {name_of(error)}") from error

    def _url(self, path: ApiPath) -> str:
        """Where it is. Raises ImpossibleName."""
        try:
            return self._credentials.url + path.text()
        except InvalidPath as error:
            raise ImpossibleName(str(error)) from None

    def _headers(self) -> dict[str, str]:
        token = self._credentials.token()
        return {"Authorization": f"Bearer {token}"} if token else {}


def items_of(answer: JsonObject) -> list[JsonObject]:
    """A list's items."""
    items = answer.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def metadata_of(value: JsonObject, key: str) -> str:
    """A text of an object's or a list's metadata; empty if there is none."""
    metadata = value.get("metadata")
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else ""


def name_of(error: Exception) -> str:
    """What an error is called."""
    return str(error) or type(error).__name__  # some of aiohttp's errors have no text


def _message(text: str, reason: str) -> str:
    """The API server's own sentence from a Status object, else the HTTP reason."""
    try:
        value = json.loads(text)
    except ValueError:
        return reason
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) and message else reason
