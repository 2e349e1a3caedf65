"""Writes the annotations of workloads that run, as the statuses of budgets and targets change.

The annotations of Jobs are known from the watch. Those of other workloads are not read: there may be very many, and the
controller has no right to read them. What was written last is remembered while a status names the workload. After a
restart it is written once more, a part in each window.

At most 200 workloads are written in a window of a minute, 3.3 a second: first those whose budget, state or targets
changed, then those whose figure did, the oldest first, and last those whose last write failed. So an annotation is at
most ten minutes behind the status for up to 2,000 workloads whose figures change, 25 minutes for 5,000. The annotation
`as-of` gives the time up to which a figure counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.api.wire_names import (
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
    EMISSIONS_ANNOTATION,
    STATE_ANNOTATION,
    TARGETS_ANNOTATION,
)
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget, is_enforced_namespace
from carbonbudget_operator.enforcement.flagged_targets import (
    FlaggingTarget,
    targets_annotations,
    workloads_flagged_since,
)
from carbonbudget_operator.enforcement.job_actions import JobActions
from carbonbudget_operator.enforcement.job_fields import Job, instant
from carbonbudget_operator.enforcement.job_store import JobStore
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.enforcement.workload_annotations import (
    UrgentAnnotations,
    WorkloadAnnotations,
    WorkloadKey,
    workload_annotations,
)

_WRITES_PER_WINDOW: Final = 200  # a thousand budgets that change state must not overload the API server
_QUIET_S: Final = 600
# What a process before this one may have left unwritten when it ended: twice the 25 minutes above.
_LEFT_UNWRITTEN_S: Final = 3000
_REMOVED: Final = WorkloadAnnotations()

NamespaceLabels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Written:
    """What was last written to a workload, and when (UTC seconds, 0 for not known)."""

    urgent: UrgentAnnotations = _REMOVED.urgent
    emissions: str | None = None
    at: int = 0


_UNKNOWN: Final = _Written(UrgentAnnotations(None, None, ""))  # differs from whatever is written


class WorkloadAnnotator:
    """`write_due` is called in each window. `exempt` are namespaces in which nothing is written."""

    def __init__(
        self,
        actions: JobActions,
        store: JobStore,
        metrics: EnforcementMetrics,
        exempt: frozenset[str],
        now: Callable[[], float],
    ) -> None:
        self._actions, self._store, self._metrics, self._now = actions, store, metrics, now
        self._exempt = exempt
        self._written: dict[WorkloadKey, _Written] = {}
        # When the writes that failed were tried. They come last, or 200 of one tenant would delay all others.
        self._failed: dict[WorkloadKey, int] = {}
        # Workloads that targets flagged shortly before this process began, until they are written once: a target that
        # is better since is no reason to write for a process that does not know what the one before it wrote.
        self._unsure: set[WorkloadKey] | None = None

    async def write_due(
        self, budgets: Sequence[EnforcedBudget], targets: Sequence[FlaggingTarget], namespaces: NamespaceLabels
    ) -> None:
        """Annotate the workloads that the statuses name, and remove the annotations of those no longer named.

        An annotation that stayed would not change with the budget or target any more.
        """
        now, named = int(self._now()), workload_annotations(budgets, targets_annotations(targets))
        if self._unsure is None:
            found = workloads_flagged_since(targets, now - _LEFT_UNWRITTEN_S)
            self._unsure = {key for key in found if key.kind != "Job"}
        jobs = {
            WorkloadKey(job.namespace, "Job", job.name): job for job in self._store.jobs.values() if not job.finished_at
        }
        annotated = {key for key, last in self._written.items() if last.urgent != _REMOVED.urgent}
        annotated |= {
            key for key, job in jobs.items() if job.annotations.keys() & {BUDGET_ANNOTATION, TARGETS_ANNOTATION}
        }
        annotated |= self._unsure
        wanted = named | dict.fromkeys(sorted(annotated - named.keys()), _REMOVED)
        due = [key for key in self._due(wanted, jobs, now) if self._is_enforced(key, namespaces)][:_WRITES_PER_WINDOW]
        results = await asyncio.gather(*(self._actions.patch_workload(key.path, wanted[key].patch()) for key in due))
        for key, result in zip(due, results, strict=True):
            self._failed.pop(key, None)
            if result == "failed":
                self._failed[key] = now
                continue
            self._unsure.discard(key)
            if result == "written":
                self._metrics.annotations.inc()
                self._written[key] = _Written(wanted[key].urgent, wanted[key].emissions, now)
            elif key in named:  # gone, but tried again while it is named: it may be created again
                self._written[key] = _Written(at=now)
            else:
                self._written.pop(key, None)
        self._forget(wanted, jobs, namespaces, now)

    def _due(
        self, wanted: Mapping[WorkloadKey, WorkloadAnnotations], jobs: Mapping[WorkloadKey, Job], now: int
    ) -> list[WorkloadKey]:
        """What differs and was not written in the last ten minutes: a changed state first, then the oldest.

        The state is budget, state and targets. Writes that failed come last, the one that failed longest ago first.
        """
        found: list[tuple[int, bool, int, WorkloadKey]] = []
        for key, values in wanted.items():
            remembered = last = self._written.get(key, _UNKNOWN if key in (self._unsure or ()) else _Written())
            if key.kind == "Job":
                if key not in jobs:
                    continue
                last = _annotations_of(jobs[key], remembered, now)
            same_state = last.urgent == values.urgent
            if same_state and last.emissions == values.emissions:
                continue
            # `last` may be of a Job's annotations as a restart finds them. A change of state does not wait for these.
            if now - (last.at if same_state else remembered.at) >= _QUIET_S:
                found.append((self._failed.get(key, 0), same_state, last.at, key))
        return [key for *_, key in sorted(found)]

    def _forget(
        self, wanted: Iterable[WorkloadKey], jobs: Iterable[WorkloadKey], namespaces: NamespaceLabels, now: int
    ) -> None:
        """Drop what is remembered of workloads that are not named, do not run or are in exempt namespaces."""
        wanted, jobs = set(wanted), set(jobs)
        self._failed = {key: at for key, at in self._failed.items() if key in wanted}
        self._unsure = {key for key in self._unsure or () if self._is_enforced(key, namespaces)}
        self._written = {
            key: last
            for key, last in self._written.items()
            if self._is_enforced(key, namespaces)
            and (now - last.at < _QUIET_S or (key in jobs if key.kind == "Job" else last.urgent != _REMOVED.urgent))
        }

    def _is_enforced(self, key: WorkloadKey, namespaces: NamespaceLabels) -> bool:
        return is_enforced_namespace(key.namespace, namespaces.get(key.namespace), self._exempt)


def _annotations_of(job: Job, remembered: _Written, now: int) -> _Written:
    """What a running Job's annotations say. `as-of` is free text: a time in the future counts as none."""
    as_of = instant(job.annotations.get(AS_OF_ANNOTATION, ""))
    names = (BUDGET_ANNOTATION, STATE_ANNOTATION, TARGETS_ANNOTATION)
    state = UrgentAnnotations(*(job.annotations.get(name) for name in names))
    at = max(remembered.at, as_of if as_of <= now else 0)
    return _Written(state, job.annotations.get(EMISSIONS_ANNOTATION), at)
