"""An endless watch of one collection: list, then changes, over every way in which a watch ends."""

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
_SILENCE_SECONDS = 70  # bookmarks come every minute: longer silence is a half-open connection
_TIMEOUT = aiohttp.ClientTimeout(total=_WATCH_SECONDS + 10, sock_connect=10, sock_read=_SILENCE_SECONDS)
_LARGE_LINE = 256 * 2**10
_FIRST_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 30.0
_GONE = 410
# No answer, or asked to wait: the version is still good. All else may be a refusal of the version.
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
    """For ever, until it is closed; the client's `watch` says what it yields. `watched` is told when it is current."""
    version: str | None = None  # from where to go on; None: list first
    outage = _Outage(str(path))
    rows = TableRows()
    read = rows.items if as_table else items_of
    accept = TABLE if as_table else METADATA if metadata_only else JSON
    params = {**params, **TABLE_PARAMS} if as_table else params
    while True:
        opened_at: float | None = None
        failure: KubeError | None = None
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
            async with changes(connection, path, version, params, accept, most_parsed) as told:
                opened_at = time.monotonic()
                async for event, changed in told:
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
            outage.over()  # it held for a while, whatever ended it
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
    """What changes after `version`, with bookmarks, until the watch ends. Raises KubeError, also inside the block."""

    async def events(lines: AsyncGenerator[bytes]) -> AsyncGenerator[tuple[str, JsonObject]]:
        async for line in lines:
            yield _event(line, most_parsed)

    async with (
        connection.opened(path, {**(params or {}), **_from(version)}, accept, _TIMEOUT) as content,
        aclosing(_lines(content, connection.large)) as lines,
        aclosing(events(lines)) as told,
    ):
        yield told


def _from(version: str) -> dict[str, str]:
    return {
        "watch": "1",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(_WATCH_SECONDS),
    }


class _Outage:
    """The pauses of one watch between its attempts, and the one line of the log when they begin to fail."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._backoff = Backoff(_FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS)
        self._failures, self._told = 0, False

    def over(self) -> None:
        """Something came."""
        if self._told:
            _log.info("%s is watched again", self._path)
        self._backoff.reset()
        self._failures, self._told = 0, False

    async def pause(self, failure: KubeError | None) -> None:
        """Before the next attempt; None where the last one ended as watches do."""
        if failure is not None and self._failed(failure) and not self._told:
            _log.warning("%s is not watched, tried again until it is: %s", self._path, failure.reason)
            self._told = True
        await asyncio.sleep(self._backoff.pause_seconds())

    def _failed(self, failure: KubeError) -> bool:
        """Whether it is worth a line: one connection that is cut, or one 410, is the life of a watch."""
        self._failures += 1
        return self._failures > 1 or failure.status not in (0, 410)


def _event(line: bytes, most_parsed: int) -> tuple[str, JsonObject]:
    """One line of a watch. Raises KubeError where it ends the watch: what comes after it cannot be trusted."""
    try:
        large = len(line) > _LARGE_LINE and 0 < most_parsed < parsed_bytes(line)
        event = _metadata_of_event(line) if large else json.loads(line)
        kind, changed = event["type"], event["object"]
        if not isinstance(kind, str) or not isinstance(changed, dict):
            raise TypeError("type or object is missing")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise KubeError(_GONE, f"a line of the watch is not understood: {name_of(error)}") from error
    if kind == "ERROR":
        code = changed.get("code")
        # Whatever it says, it is about the version: 0 and 429 would go on from the same.
        raise KubeError(code if isinstance(code, int) and code not in GOES_ON else _GONE, str(changed.get("message")))
    return kind, changed


def _metadata_of_event(line: bytes) -> JsonObject:
    """A line with its object's metadata alone. Raises ValueError."""
    text = beginning(line, MAX_METADATA_BYTES)
    event, key, at = first_members(text, 0, ("type",))
    if key != "object":
        raise ValueError("it has no object")
    return {**event, "object": first_members(text, at, ENVELOPE)[0]}


async def _lines(stream: aiohttp.StreamReader, large: asyncio.Lock) -> AsyncGenerator[bytes]:
    """Whole lines: the stream's own readline refuses those above its buffer.

    A long one is read with `large` held, so that one watch at a time holds one. Raises KubeError: a line is longer
    than any object.
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
