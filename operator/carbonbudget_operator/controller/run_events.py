"""Posts an Event for each run over a threshold of a budget per workload, on the budget and on the workload.

A run that is expected to exceed the limit has one too, once in a period. The status shows which runs were reported
(`topWorkloads[].state` and `expectedPercent`), so that a restart repeats nothing. At most 100 runs
of a budget are named there, and at most 100 are reported in each window, over all budgets.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from carbonbudget_operator.api.kubernetes_event import InvolvedObject, event_body
from carbonbudget_operator.api_path import is_label, is_subdomain
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.controller.run_limits import (
    Key,
    RunExpectedOver,
    RunOverThreshold,
    expected_over_in_status,
    runs_in_status,
)
from carbonbudget_operator.kube.client import KubeClient, KubeError

_log = logging.getLogger(__name__)
_SEVERITY: Final = {"WithinBudget": 0, "Warning": 1, "Exceeded": 2}
_AT_ONCE: Final = 16
_MOST_WAITING: Final = 10_000
_Run = RunOverThreshold | RunExpectedOver
# Kinds that a run may be of and that an Event can be about; of others only the budget has one.
_VERSIONS: Final = {
    "Job": "batch/v1", "CronJob": "batch/v1", "Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1", "ReplicationController": "v1", "Pod": "v1",
}  # fmt: skip


class RunEvents:
    """The queue of Events, in order.

    `uids` returns the uids of Jobs. `enforced` returns whether budgets are enforced in a namespace.
    """

    def __init__(self, client: KubeClient) -> None:
        self.uids: Callable[[], Mapping[Key, str]] = dict
        self.enforced: Callable[[str], bool] = lambda _: True
        self._client = client
        self._waiting: deque[tuple[StoredBudget, _Run]] = deque()
        self._known: dict[str, tuple[str, object, dict[Key, str]]] = {}
        self._expected: dict[str, tuple[str, object, set[Key]]] = {}

    def queue(self, stored: StoredBudget, period: object, runs: tuple[RunOverThreshold, ...]) -> int:
        """Queue the runs whose state is worse than the last written one. Returns how many were dropped.

        `period` is the status's. After a write the watch may still show the status before it.
        """
        uid, of, previous = self._known.get(stored.key, ("", None, {}))
        if uid != stored.uid or of != period:
            previous = runs_in_status(stored.body, period)
        worse = [run for run in runs if _SEVERITY[run.state.value] > _SEVERITY.get(previous.get(run.key, ""), 0)]
        self._known[stored.key] = (stored.uid, period, {run.key: run.state.value for run in runs})
        return self._add(stored, worse)

    def queue_expected(self, stored: StoredBudget, period: object, runs: tuple[RunExpectedOver, ...]) -> int:
        """Queue the runs that were not reported as expected to exceed the limit. Returns how many were dropped.

        A run stays reported while the period lasts, however often it is expected to and then not.
        """
        uid, of, reported = self._expected.get(stored.key, ("", None, set()))
        if uid != stored.uid or of != period:
            reported = expected_over_in_status(stored.body, period)
        new = [run for run in runs if run.key not in reported]
        # Of a long period there may be many; that the first of them are forgotten then repeats an Event at worst.
        reported = reported if len(reported) < _MOST_WAITING else set()
        self._expected[stored.key] = (stored.uid, period, reported | {run.key for run in runs})
        return self._add(stored, new)

    def _add(self, stored: StoredBudget, runs: Sequence[_Run]) -> int:
        free = max(0, _MOST_WAITING - len(self._waiting))
        self._waiting.extend((stored, run) for run in runs[:free])
        return len(runs) - min(free, len(runs))

    def forget_all_but(self, keys: Mapping[str, object]) -> None:
        """Drop what is known of budgets that were deleted."""
        self._known = {key: known for key, known in self._known.items() if key in keys}
        self._expected = {key: known for key, known in self._expected.items() if key in keys}

    async def post(self, most: int, now: int) -> None:
        """Post the next `most` runs. An Event that cannot be posted is logged; the status shows the same."""
        due = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        if not due:
            return
        uids, slots = self.uids(), asyncio.Semaphore(_AT_ONCE)
        abouts: list[tuple[InvolvedObject, _Run]] = []
        for stored, run in due:
            abouts.append((stored.involved, run))
            if (about := self._workload(run.key, uids)) is not None:
                abouts.append((about, run))

        async def send(about: InvolvedObject, run: _Run) -> None:
            body = event_body(about, "controller", "Warning", run.reason, run.message, now)
            try:
                async with slots:
                    await self._client.send("POST", about.events_path, body)
            except KubeError as error:
                _log.warning("event of %s %s not posted: %s", about.kind, about.name, error.reason)

        await asyncio.gather(*(send(about, run) for about, run in abouts))

    def _workload(self, key: Key, uids: Mapping[Key, str]) -> InvolvedObject | None:
        """The workload's object; None if its names are not valid, or if budgets are not enforced in its namespace."""
        namespace, kind, name = key
        if kind not in _VERSIONS or not is_label(namespace) or not is_subdomain(name) or not self.enforced(namespace):
            return None
        return InvolvedObject(_VERSIONS[kind], kind, name, namespace, uids.get(key, ""))
