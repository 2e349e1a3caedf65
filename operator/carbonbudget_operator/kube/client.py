"""One thin asynchronous client for the Kubernetes API: what the other rooms take from this one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

import aiohttp

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.connection import (
    JSON,
    MERGE_PATCH,
    METADATA,
    ApiConnection,
    ApiResponse,
    ImpossibleName,
    JsonObject,
    KubeError,
    items_of,
)
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.kube.watch import watch
from carbonbudget_operator.kube.watch_status import WatchStatuses

__all__ = ["JSON", "MERGE_PATCH", "METADATA", "ApiResponse", "ImpossibleName", "JsonObject", "KubeClient", "KubeError"]


class KubeClient(ApiConnection):
    """Requests, paged lists and endless watches, in JSON objects."""

    def __init__(
        self, credentials: Credentials, session: aiohttp.ClientSession, streams: aiohttp.ClientSession
    ) -> None:
        super().__init__(credentials, session, streams)
        self.watches = WatchStatuses()

    async def list(
        self, path: ApiPath, params: Mapping[str, str] | None = None, page: int = 500, metadata_only: bool = False
    ) -> AsyncIterator[JsonObject]:
        """All items of a collection, read in pages so that no answer is huge."""
        async for answer in self.pages(path, params or {}, page, metadata_only):
            for item in items_of(answer):
                yield item

    async def watch(
        self,
        path: ApiPath,
        params: Mapping[str, str] | None = None,
        metadata_only: bool = False,
        most_parsed: int = 0,
        as_table: bool = False,
    ) -> AsyncIterator[tuple[str, JsonObject | None]]:
        """List, then watch, for ever. `as_table`: each object is metadata and the cells of its row (`table_rows.py`).

        `("LISTING", None)`, `("ADDED", object)` for each, `("LISTED", None)`, then the changes. A watch that
        ends or is dropped goes on where it was: proxies cut what is silent, and a list of all Jobs is dear. After
        410 Gone, or any refusal to go on, it lists again: what was not seen between the two marks is gone, its
        end was missed. Pauses double while nothing comes; the first failure of an outage is logged. It ends only
        when it is closed. An object that would take more than `most_parsed` bytes once parsed (0: no limit) comes with
        its metadata alone.
        """
        with self.watches.of(str(path)) as watched:
            events_of = watch(self, path, params or {}, metadata_only, most_parsed, watched, as_table)
            async with aclosing(events_of) as events:
                async for event in events:
                    yield event
