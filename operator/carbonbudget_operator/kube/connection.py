"""HTTP requests to the Kubernetes API, in JSON, with aiohttp.

The official client is not used here: its models take about 40 MB in each process and block the event loop. It is used
only outside a cluster, to read kubeconfigs (exec plugins, client certificates).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import aiohttp

from carbonbudget_core.jsons import at, objects, parse_object, text
from carbonbudget_operator.api_path import ApiPath, InvalidPath
from carbonbudget_operator.json_bounds import beginning, first_element, first_members, parsed_bytes
from carbonbudget_operator.kube.credentials import Credentials, find_credentials

MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

# Limit of concurrent requests. Watches stay open for minutes, so they have a connection pool of their own without a
# limit: in a limited pool they would block each other and all requests. Their callers limit how many they open.
_MAX_REQUESTS = 32
# An object is at most 1.5 MiB in etcd, and Go's JSON writes six bytes for each `<` of it.
MAX_OBJECT_BYTES = 16 * 2**20
# If a page of a list is larger than this, or would take more memory once parsed, it is requested with fewer items.
_PAGE_BYTES = 4 * 2**20
_PAGE_PARSED_BYTES = 32 * 2**20
# The first members of each object and list, in this order. Labels and annotations in metadata are flat text.
ENVELOPE = ("kind", "apiVersion", "metadata")
MAX_METADATA_BYTES = 4 * 2**20

JsonObject = dict[str, object]


class KubeError(Exception):
    """The API server refused a request or could not be reached. `status` is the HTTP code, 0 if unreachable.

    `wrong_use` is true if no request was sent, because the given name or credentials cannot be valid.
    """

    wrong_use = False

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class NoCredentials(KubeError):
    """There is neither a service account nor a usable kubeconfig."""

    wrong_use = True


class ImpossibleName(KubeError):
    """No object can have this path, so no request was sent. Callers treat it like a 404."""

    wrong_use = True

    def __init__(self, reason: str) -> None:
        super().__init__(HTTPStatus.NOT_FOUND, reason)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """One HTTP answer with any status. `warnings` are the values of its Warning headers."""

    status: int
    reason: str
    warnings: tuple[str, ...]
    text: str


class ApiConnection:
    """Sends single requests, reads lists in pages and opens streams, with one set of credentials."""

    def __init__(
        self, credentials: Credentials, session: aiohttp.ClientSession, streams: aiohttp.ClientSession
    ) -> None:
        """`session` is for requests, `streams` for watches."""
        self._credentials = credentials
        self._session, self._streams = session, streams
        # Large answers are read one at a time: otherwise many of them together would exceed the memory.
        self.large = asyncio.Lock()

    @classmethod
    def from_environment(cls) -> Self:
        """Connect with the pod's service account, else with the current kubeconfig. Needs a running event loop.

        Raises:
            NoCredentials: there is neither of them.
        """
        try:
            credentials = find_credentials()
        except ValueError as error:
            raise NoCredentials(0, str(error)) from None
        return cls.connect(credentials)

    @classmethod
    def connect(cls, credentials: Credentials) -> Self:
        """Connect with the given credentials. Needs a running event loop."""
        tls: ssl.SSLContext | bool = credentials.ssl_context() if credentials.url.startswith("https") else False
        session, streams = (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=limit),
                timeout=aiohttp.ClientTimeout(total=30, sock_connect=10),
                headers={"User-Agent": "carbonbudget"},
                proxy=credentials.proxy or None,
            )
            for limit in (_MAX_REQUESTS, 0)
        )
        return cls(credentials, session, streams)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._streams.close()
        if self._credentials.url.startswith("https"):
            # aiohttp does not wait until TLS connections are closed (its documentation, "Graceful shutdown"). If the
            # loop ended now, their sockets would stay open.
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
        """Send one request and return the JSON object of the answer. `accept=METADATA` requests only metadata.

        Raises:
            KubeError: a status of 400 or above (with the API server's message), or no answer.
        """
        answer = await self.exchange(method, path, body, params, content_type, accept)
        if answer.status >= 400:
            raise KubeError(answer.status, _message(answer.text, answer.reason))
        return _object(lambda: json.loads(answer.text), method, path)

    async def send(
        self,
        method: str,
        path: ApiPath,
        body: Mapping[str, object],
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> None:
        """Send one request and discard the answer, whatever its size. Raises KubeError."""
        # PartialObjectMetadata is the shortest answer.
        headers = self._headers(METADATA, content_type)
        with _unreachable():
            async with self._session.request(
                method, self._url(path), data=json.dumps(body), params=params, headers=headers
            ) as response:
                if response.status >= 400:
                    read = await _read(response, MAX_OBJECT_BYTES) or b""
                    raise KubeError(response.status, _message(read.decode(errors="replace"), response.reason or ""))
                async for _ in response.content.iter_any():
                    pass

    async def exchange(
        self,
        method: str,
        path: ApiPath,
        body: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> ApiResponse:
        """Send one request and return the answer with its warnings, whatever its status.

        Raises:
            KubeError: no answer, or an answer larger than MAX_OBJECT_BYTES.
        """
        data = None if body is None else json.dumps(body)
        headers = self._headers(accept, content_type)
        with _unreachable():
            async with self._session.request(
                method, self._url(path), data=data, params=params, headers=headers
            ) as response:
                read = await _read(response, MAX_OBJECT_BYTES)
                if read is None:
                    raise KubeError(0, f"the answer to {method} {path} is larger than {MAX_OBJECT_BYTES} bytes")
                warnings = tuple(response.headers.getall("Warning", ()))
                return ApiResponse(response.status, response.reason or "", warnings, read.decode(errors="replace"))

    async def pages(
        self,
        path: ApiPath,
        params: Mapping[str, str],
        page: int,
        metadata_only: bool = False,
        most_parsed: int = 0,
        as_table: bool = False,
    ) -> AsyncIterator[JsonObject]:
        """Yield a collection as lists of at most `page` items. Where items are large, a list has fewer, down to one.

        An item that would take more than `most_parsed` bytes once parsed (0: no limit) has its metadata only.
        Raises KubeError.
        """
        accept = TABLE if as_table else _METADATA_LIST if metadata_only else JSON
        token, limit = "", page
        while True:
            query = {**params, "limit": str(limit)} | ({"continue": token} if token else {})
            answer, size = await self._page(path, query, accept, limit == 1, most_parsed)
            if answer is None:
                limit = max(1, limit // 8)
                continue
            yield answer
            token = metadata_of(answer, "continue")
            del answer  # frees its memory before the next list is read
            if not token:
                return
            if size < _PAGE_BYTES // 8:
                limit = min(page, limit * 2)

    async def _page(
        self, path: ApiPath, query: Mapping[str, str], accept: str, single: bool, most_parsed: int
    ) -> tuple[JsonObject | None, int]:
        """One list and its size in bytes. The list is None if it is too large and `single` is false."""
        headers = self._headers(accept)
        with _unreachable():
            async with self._session.get(self._url(path), params=query, headers=headers) as response, self.large:
                read = await _read(response, MAX_OBJECT_BYTES if single else _PAGE_BYTES)
                if read is None and single:
                    raise KubeError(0, f"an object of {path} is larger than {MAX_OBJECT_BYTES} bytes")
                if read is None:
                    return None, 0
                if response.status >= 400:
                    raise KubeError(response.status, _message(read.decode(errors="replace"), response.reason or ""))
                parsed = parsed_bytes(read) if len(read) > _PAGE_PARSED_BYTES // 64 else 0
                if not single and parsed > _PAGE_PARSED_BYTES:
                    return None, 0
                reduced = single and 0 < most_parsed < parsed
                parse = (lambda: _metadata_of_single(read)) if reduced else (lambda: json.loads(read))
                return _object(parse, "GET", path), len(read)

    @asynccontextmanager
    async def opened(
        self, path: ApiPath, params: Mapping[str, str], accept: str, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of an answer as a stream. Raises KubeError, also inside the block if the connection breaks."""
        headers = self._headers(accept)
        with _unreachable("the connection of the watch broke"):
            async with self._streams.get(self._url(path), params=params, headers=headers, timeout=limits) as response:
                if response.status >= 400:
                    read = await _read(response, MAX_OBJECT_BYTES) or b""
                    raise KubeError(response.status, _message(read.decode(errors="replace"), response.reason or ""))
                yield response.content

    def _url(self, path: ApiPath) -> str:
        """The URL of a path. Raises ImpossibleName."""
        try:
            return self._credentials.url + path.text()
        except InvalidPath as error:
            raise ImpossibleName(str(error)) from None

    def _headers(self, accept: str, content_type: str = "") -> list[tuple[str, str]]:
        """A list, since Impersonate-Group may stand in it several times."""
        named = {"Accept": accept, "Content-Type": content_type}
        if token := self._credentials.token():
            named["Authorization"] = f"Bearer {token}"
        return [*self._credentials.impersonated, *((name, value) for name, value in named.items() if value)]


@contextmanager
def _unreachable(what: str = "no answer from the API server") -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        raise KubeError(0, f"{what}: {name_of(error)}") from error


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body. If it is longer than `most` bytes, the connection is closed and None is returned."""
    read = bytearray()
    async for chunk in response.content.iter_any():
        read += chunk
        if len(read) > most:
            response.close()
            return None
    return bytes(read)


def _object(parse: Callable[[], object], method: str, path: ApiPath) -> JsonObject:
    """The JSON object that `parse` returns. Raises KubeError if it is not a JSON object."""
    try:
        value = parse()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise KubeError(0, f"the API server's answer to {method} {path} is not a JSON object")
    return value


def _metadata_of_single(read: bytes) -> JsonObject:
    """A list of one item that has only its metadata. Raises ValueError."""
    text = beginning(read, MAX_METADATA_BYTES)
    found, key, at = first_members(text, 0, ENVELOPE)
    if key != "items":
        raise ValueError("the list has no items")
    item, _, _ = first_members(text, first_element(text, at), ENVELOPE)
    # Lists of custom resources have their keys in alphabetical order: the continue token comes last.
    rest = {} if "metadata" in found else json.loads(b"{" + read[read.rindex(b'],"kind":') + 2 :])
    return {**found, **rest, "items": [item]}


def items_of(answer: JsonObject) -> list[JsonObject]:
    """The items of a list."""
    return list(objects(answer.get("items")))


def metadata_of(value: JsonObject, key: str) -> str:
    """A text field of the metadata of an object or list; empty if there is none."""
    return text(at(value, "metadata").get(key))


def name_of(error: Exception) -> str:
    """The text of an error, or the name of its class if it has none."""
    return str(error) or type(error).__name__  # some errors of aiohttp have no text


def _message(answer: str, reason: str) -> str:
    """The message of a Status object, else the HTTP reason."""
    return text(parse_object(answer).get("message")) or reason
