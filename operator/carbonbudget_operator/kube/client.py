"""Asynchronous client for the Kubernetes API: requests, paged lists and watches.

Other packages import from this module alone, not from the modules that it is made of.
"""

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
    """Sends requests, reads lists page by page, and watches collections. Objects are JSON objects."""

    def __init__(
        self, credentials: Credentials, session: aiohttp.ClientSession, streams: aiohttp.ClientSession
    ) -> None:
        super().__init__(credentials, session, streams)
        self.watches = WatchStatuses()

    async def list(
        self, path: ApiPath, params: Mapping[str, str] | None = None, page: int = 500, metadata_only: bool = False
    ) -> AsyncIterator[JsonObject]:
        """Yield all items of a collection. It is read in pages of at most `page` items, so that answers stay small."""
        async for answer in self.pages(path, params or {}, page, metadata_only):
            for item in items_of(answer):
                yield item
            del answer  # frees its memory before the next page is read

    async def watch(
        self,
        path: ApiPath,
        params: Mapping[str, str] | None = None,
        metadata_only: bool = False,
        most_parsed: int = 0,
        as_table: bool = False,
    ) -> AsyncIterator[tuple[str, JsonObject | None]]:
        """List a collection, then watch it until the iterator is closed.

        Yields `("LISTING", None)`, `("ADDED", object)` for each object, `("LISTED", None)`, and then each change.
        A watch that ends continues at the same resource version, because proxies close silent connections and a list
        of all Jobs is expensive. After 410 Gone, or another refusal of the version, the collection is listed again.
        An object that is not between LISTING and LISTED was deleted in the meantime. Pauses double while attempts
        fail; the first failure of an outage is logged.

        `most_parsed` limits the memory of one parsed object in bytes (0: no limit); a larger object is yielded with its
        metadata only. `as_table`: each object is its metadata and the cells of its table row (`table_rows.py`).
        """
        with self.watches.of(str(path)) as watched:
            events_of = watch(self, path, params or {}, metadata_only, most_parsed, watched, as_table)
            async with aclosing(events_of) as events:
                async for event in events:
                    yield event
