"""Watches one collection of the Kubernetes API without end: first a list, then its changes.

It handles all ways in which a watch can end: timeouts, closed connections, expired versions and invalid lines.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager

import aiohttp

from carbonbudget_core.backoff import Backoff
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.json_bounds import beginning, first_members, parsed_bytes
from carbonbudget_operator.kube.connection import (
    ENVELOPE,
    JSON,
    MAX_METADATA_BYTES,
    MAX_OBJECT_BYTES,
    METADATA,
    TABLE,
    ApiConnection,
    JsonObject,
    KubeError,
    items_of,
    metadata_of,
    name_of,
)
from carbonbudget_operator.kube.table_rows import TABLE_PARAMS, TableRows
from carbonbudget_operator.kube.watch_status import WatchStatus

_PAGE = 500
_WATCH_SECONDS = 300
_SILENCE_SECONDS = 70  # bookmarks come every minute; after a longer silence the connection is assumed to be half-open
_TIMEOUT = aiohttp.ClientTimeout(total=_WATCH_SECONDS + 10, sock_connect=10, sock_read=_SILENCE_SECONDS)
_LARGE_LINE = 256 * 2**10
_FIRST_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 30.0
_GONE = 410
# After no answer or 429 the resource version is still valid. Any other status may mean that it was refused.
GOES_ON = frozenset({0, 429})

_log = logging.getLogger(__name__)


async def watch(
    connection: ApiConnection,
    path: ApiPath,
    params: Mapping[str, str],
    metadata_only: bool,
    most_parsed: int,
    watched: WatchStatus,
    as_table: bool = False,
) -> AsyncGenerator[tuple[str, JsonObject | None]]:
    """Watch until closed, and update `watched`. `KubeClient.watch` documents what is yielded."""
    version: str | None = None  # where to continue; None: list first
    outage = _Outage(str(path))
    rows = TableRows()
    read = rows.items if as_table else items_of
    accept = TABLE if as_table else METADATA if metadata_only else JSON
    params = {**params, **TABLE_PARAMS} if as_table else params
    while True:
        opened_at: float | None = None
        failure: KubeError | None = None
        continued = version is not None
        try:
            if version is None:
                yield "LISTING", None
                listed = ""
                async for answer in connection.pages(path, params, _PAGE, metadata_only, most_parsed, as_table):
                    listed = metadata_of(answer, "resourceVersion")
                    for item in read(answer):
                        yield "ADDED", item
                    del answer
                version = listed
                watched.is_current()
                yield "LISTED", None
            async with changes(connection, path, version, params, accept, most_parsed) as found:
                opened_at = time.monotonic()
                async for event, changed in found:
                    outage.over()
                    watched.is_current()
                    version = metadata_of(changed, "resourceVersion") or version
                    if event == "BOOKMARK":
                        continue
                    for item in rows.items(changed) if as_table else (changed,):
                        yield event, item
        except KubeError as error:
            failure = error
            if error.status not in GOES_ON:
                version = None
        if opened_at is not None and time.monotonic() - opened_at >= _MAX_BACKOFF_SECONDS:
            outage.over()  # it was open for a while, so the next attempt needs no long pause
        if continued and failure is not None and failure.status == _GONE:
            continue  # only a list helps, and the server answers; after a list there is a pause in any case
        await outage.pause(failure)


@asynccontextmanager
async def changes(
    connection: ApiConnection,
    path: ApiPath,
    version: str,
    params: Mapping[str, str] | None = None,
    accept: str = JSON,
    most_parsed: int = 0,
) -> AsyncGenerator[AsyncGenerator[tuple[str, JsonObject]]]:
    """The changes after `version`, with bookmarks, until the watch ends. Raises KubeError, also inside the block."""

    async def events(lines: AsyncGenerator[bytes]) -> AsyncGenerator[tuple[str, JsonObject]]:
        async for line in lines:
            yield _event(line, most_parsed)

    async with (
        connection.opened(path, {**(params or {}), **_from(version)}, accept, _TIMEOUT) as content,
        aclosing(_lines(content, connection.large)) as lines,
        aclosing(events(lines)) as found,
    ):
        yield found


def _from(version: str) -> dict[str, str]:
    return {
        "watch": "1",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(_WATCH_SECONDS),
    }


class _Outage:
    """The pauses between the attempts of one watch, and the single log line when the attempts begin to fail."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._backoff = Backoff(_FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS)
        self._failures, self._logged = 0, False

    def over(self) -> None:
        """The watch works: reset the pauses, and log it if the failure was logged."""
        if self._logged:
            _log.info("the watch of %s works again", self._path)
        self._backoff.reset()
        self._failures, self._logged = 0, False

    async def pause(self, failure: KubeError | None) -> None:
        """Wait before the next attempt. `failure` is None if the watch ended normally."""
        if failure is not None and self._failed(failure) and not self._logged:
            _log.warning("the watch of %s fails and is retried: %s", self._path, failure.reason)
            self._logged = True
        await asyncio.sleep(self._backoff.pause_seconds())

    def _failed(self, failure: KubeError) -> bool:
        """Whether to log it. One closed connection or one 410 is normal; a second failure in a row is not."""
        self._failures += 1
        return self._failures > 1 or failure.status not in (0, 410)


def _event(line: bytes, most_parsed: int) -> tuple[str, JsonObject]:
    """Parse one line of a watch. Raises KubeError if it is invalid, because later lines cannot be trusted then."""
    try:
        large = len(line) > _LARGE_LINE and 0 < most_parsed < parsed_bytes(line)
        event = _metadata_of_event(line) if large else json.loads(line)
        kind, changed = event["type"], event["object"]
        if not isinstance(kind, str) or not isinstance(changed, dict):
            raise TypeError("type or object is missing")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise KubeError(_GONE, f"a line of the watch is invalid: {name_of(error)}") from error
    if kind == "ERROR":
        code = changed.get("code")
        # An ERROR event concerns the version. The codes 0 and 429 would continue with the same version, so 410 is used.
        raise KubeError(code if isinstance(code, int) and code not in GOES_ON else _GONE, str(changed.get("message")))
    return kind, changed


def _metadata_of_event(line: bytes) -> JsonObject:
    """The event of a line, with only the metadata of its object. Raises ValueError."""
    text = beginning(line, MAX_METADATA_BYTES)
    event, key, at = first_members(text, 0, ("type",))
    if key != "object":
        raise ValueError("the event has no object")
    return {**event, "object": first_members(text, at, ENVELOPE)[0]}


async def _lines(stream: aiohttp.StreamReader, large: asyncio.Lock) -> AsyncGenerator[bytes]:
    """Yield whole lines. The stream's own readline refuses lines that are longer than its buffer.

    A long line is read under the lock `large`, so that only one watch at a time stores one. Raises KubeError if a line
    is longer than MAX_OBJECT_BYTES.
    """
    line, alone = bytearray(), False
    try:
        async for chunk in stream.iter_any():
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                line += end
                if alone:
                    large.release()
                    alone = False
                if line:
                    yield bytes(line)
                line = bytearray()
            line += rest
            if len(line) > MAX_OBJECT_BYTES:
                raise KubeError(_GONE, f"a line of the watch is longer than {MAX_OBJECT_BYTES} bytes")
            if len(line) > _LARGE_LINE and not alone:
                await large.acquire()
                alone = True
    finally:
        if alone:
            large.release()
