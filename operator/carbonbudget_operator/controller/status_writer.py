"""Writes statuses and labels of budgets and targets, if a person would see a change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from prometheus_client import Counter

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.controller.budget_store import StoredObject
from carbonbudget_operator.controller.status_json import Status
from carbonbudget_operator.kube.client import MERGE_PATCH, KubeClient, KubeError
from carbonbudget_operator.logs import FailureLog
from carbonbudget_operator.printable import printable

_log = logging.getLogger(__name__)
_WRITES_AT_ONCE: Final = 16
_MAX_TEXT: Final = 1024  # of one text in a status
_MAX_REMEMBERED: Final = 10_000
_NO_LABELS: Final[Mapping[str, str | None]] = MappingProxyType({})


class WriteMetrics(Protocol):
    """Counts writes."""

    failures: Counter
    patches: Counter


class StatusWriter:
    """At most 16 writes at once, whatever the number of objects.

    `forget` is called with key and uid of an object that is gone. `is_visible`: whether a person would see the
    difference between an object and a new status. `noun` is before the key in the log, `again` when it is tried again.
    """

    def __init__(
        self,
        client: KubeClient,
        metrics: WriteMetrics,
        forget: Callable[[str, str], None],
        is_visible: Callable[[Mapping[str, object], Status], bool],
        noun: str,
        again: str,
    ) -> None:
        self._client, self._metrics, self._forget, self._is_visible = client, metrics, forget, is_visible
        self._noun, self._again = noun, again
        self.slots = asyncio.Semaphore(_WRITES_AT_ONCE)
        self._failing = FailureLog()
        # Written versions of objects that are stored without spec: their present status is not known.
        self._written_versions: dict[str, tuple[str, object]] = {}

    async def write(self, stored: StoredObject, status: Status, labels: Mapping[str, str | None] = _NO_LABELS) -> bool:
        """Write the status if it differs visibly, then these labels. Returns whether the object now has both.

        Each write names the uid, so an object that was created again under this name is not written to.
        """
        status = printable_status(status)
        try:
            if self._is_visible(stored.body, status) and not (
                stored.missing_spec_reason and self._written_versions.get(stored.key) == stored.version
            ):
                await self._patch(stored.path.sub("status"), {"metadata": {"uid": stored.uid}, "status": status})
                self._remember(stored)
            if labels:
                await self._patch(stored.path, {"metadata": {"uid": stored.uid, "labels": dict(labels)}})
        except KubeError as error:
            if error.status == 404:  # its end was missed
                self._forget(stored.key, stored.uid)
            else:
                self._metrics.failures.inc()
                if self._failing.begins(stored.key):  # once, until it is written
                    _log.warning("%s%s not updated, %s: %s", self._noun, stored.key, self._again, error.reason)
            return False
        if self._failing.ends(stored.key):
            _log.info("%s%s updated again", self._noun, stored.key)
        return True

    def _remember(self, stored: StoredObject) -> None:
        self._written_versions.pop(stored.key, None)
        if stored.missing_spec_reason:
            self._written_versions[stored.key] = stored.version
            if len(self._written_versions) > _MAX_REMEMBERED:  # the oldest is written once more
                del self._written_versions[next(iter(self._written_versions))]

    async def _patch(self, path: ApiPath, patch: dict[str, object]) -> None:
        async with self.slots:
            await self._client.send("PATCH", path, patch, content_type=MERGE_PATCH)  # the watch reports it
        self._metrics.patches.inc()


def printable_status(status: Status) -> Status:
    """A status with each text in it printable: a workload is called what its pods' owner reference says."""
    return {key: _printable(value) for key, value in status.items()}


def _printable(value: object) -> object:
    if isinstance(value, str):
        return printable(value, _MAX_TEXT)
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value
