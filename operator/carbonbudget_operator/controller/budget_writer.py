"""Writes budgets: the status if a person would see a change, and the label that the policy's binding selects by."""

from __future__ import annotations

import asyncio
import logging

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import BLOCKING_LABEL
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.controller.budget_store import BudgetStore, StoredBudget
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.status_json import Status, is_visible_change
from carbonbudget_operator.kube.client import MERGE_PATCH, KubeClient, KubeError
from carbonbudget_operator.logs import FailureLog
from carbonbudget_operator.printable import printable

_log = logging.getLogger(__name__)
_WRITES_AT_ONCE = 16
_MAX_TEXT = 1024  # of one text in a status
_MAX_REMEMBERED = 10_000


class BudgetWriter:
    """At most 16 writes at once, whatever the number of budgets."""

    def __init__(self, client: KubeClient, store: BudgetStore, metrics: ControllerMetrics) -> None:
        self._client, self._store, self._metrics = client, store, metrics
        self._writers = asyncio.Semaphore(_WRITES_AT_ONCE)
        self._failing = FailureLog()
        # Written versions of budgets that are stored without spec: their present status is not known.
        self._written_versions: dict[str, tuple[str, object]] = {}

    async def write(self, stored: StoredBudget, status: Status, blocking: bool) -> bool:
        """Write status and label if they differ. Returns whether the object now has both.

        The status comes first: a block needs both, and ends as soon as the status has none. Each write names the uid,
        so a budget that was created again under this name is not written to.
        """
        status = printable_status(status)
        labelled = at(stored.metadata, "labels").get(BLOCKING_LABEL) == "true"
        try:
            if is_visible_change(stored.body, status) and not (
                stored.missing_spec_reason and self._written_versions.get(stored.key) == stored.version
            ):
                await self._patch(stored.path.sub("status"), {"metadata": {"uid": stored.uid}, "status": status})
                self._remember(stored)
            if blocking != labelled:
                label = {BLOCKING_LABEL: "true" if blocking else None}
                await self._patch(stored.path, {"metadata": {"uid": stored.uid, "labels": label}})
        except KubeError as error:
            if error.status == 404:  # its end was missed
                self._store.forget(stored.key, stored.uid)
            else:
                self._metrics.failures.inc()
                if self._failing.begins(stored.key):  # once, until it is written
                    _log.warning("%s not updated, the next window tries again: %s", stored.key, error.reason)
            return False
        if self._failing.ends(stored.key):
            _log.info("%s updated again", stored.key)
        return True

    def _remember(self, stored: StoredBudget) -> None:
        self._written_versions.pop(stored.key, None)
        if stored.missing_spec_reason:
            self._written_versions[stored.key] = stored.version
            if len(self._written_versions) > _MAX_REMEMBERED:  # the oldest is written once more
                del self._written_versions[next(iter(self._written_versions))]

    async def _patch(self, path: ApiPath, patch: dict[str, object]) -> None:
        async with self._writers:
            await self._client.send(
                "PATCH", path, patch, content_type=MERGE_PATCH
            )  # the watch reports what was written
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
