"""A Kubernetes Job, reduced to the fields that enforcement needs. No I/O and no clock.

The object has 3 to 10 KB; the fields take 2.1 KB (tracemalloc) for a Job with an owner, all of our annotations and six
template labels that no other Job has, so 21 MB for 10,000 such Jobs. Only our own annotations are stored, each cut at
300 characters, and the first 64 labels, as the ledger stores of pods, since a selector may name any. So a Job takes
some 30 KB at most, whatever its owner writes in it.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from carbonbudget_core.jsons import JsonObject, at, mapping, objects, text
from carbonbudget_operator.api.wire_names import (
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
    CONTROLLER_MANAGER,
    DEFERRED_FORECAST_ANNOTATION,
    DEFERRED_HELD_BY_ANNOTATION,
    DEFERRED_START_ANNOTATION,
    DEFERRED_STARTED_ANNOTATION,
    EMISSIONS_ANNOTATION,
    EXEMPT_LABEL,
    FINAL_ANNOTATION,
    RESUME_AT_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    STATE_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
    SUSPENDABLE_LABEL,
    SUSPENDED_BY_ANNOTATION,
    SUSPENDED_LABEL,
    TARGETS_ANNOTATION,
)
from carbonbudget_operator.enforcement.deferral_wish import DeferralWish, parse_wish

_QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
_OWN_CONTROLLER: Final = "kubernetes.io/job-controller"
# These owners resume a suspended Job of theirs at once, so that its pods would be lost for nothing: JobSet
# 0.11.1 (resumeJobsIfNecessary), MPI operator 0.8.0 (syncHandler).
_RESUMING_OWNERS: Final = frozenset({("jobset.x-k8s.io", "JobSet"), ("kubeflow.org", "MPIJob")})
# Unique to each Job, and no budget selects by them; the agents leave them out as well.
_GENERATED: Final = frozenset({
    "controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name",
})  # fmt: skip
_OURS: Final = (
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
    DEFERRED_FORECAST_ANNOTATION,
    DEFERRED_HELD_BY_ANNOTATION,
    DEFERRED_START_ANNOTATION,
    DEFERRED_STARTED_ANNOTATION,
    EMISSIONS_ANNOTATION,
    FINAL_ANNOTATION,
    RESUME_AT_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    STATE_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
    SUSPENDED_BY_ANNOTATION,
    TARGETS_ANNOTATION,
)
_MAX_TEXT: Final = 300
_MAX_LABELS: Final = 64
_MAX_MANAGERS: Final = 4
_MAX_NAME: Final = 253  # of an owner: a reference is free text


@dataclass(frozen=True, slots=True)
class QueuedWorkload:
    """The Workload by which Kueue queues a Job."""

    uid: str
    name: str


@dataclass(frozen=True, slots=True)
class Job:
    """One Job. Times are UTC seconds, 0 for never."""

    uid: str
    namespace: str
    name: str
    version: str
    template_labels: Mapping[str, str]
    labels_cut: bool
    """Whether the pod template has more labels than are stored."""
    annotations: Mapping[str, str]
    """Our own only."""
    opted_in: bool
    exempt: bool
    marked: bool
    """Whether it has our label, which means that we suspended it."""
    suspended: bool
    manager: str
    """Which other controller writes its spec.suspend, so that we must not: Kueue, its spec.managedBy, or the kind that
    owns it. Empty: Kubernetes' own controller."""
    suspend_managers: tuple[str, ...]
    """The field managers that last wrote spec.suspend, without our own."""
    owner_kind: str
    owner_name: str
    created_at: int
    started_at: int
    finished_at: int
    resumed_at: int
    """When the Job controller last saw spec.suspend turn false."""
    queued: QueuedWorkload | None = None
    """The Workload of Kueue that is deactivated and marked in place of the Job; None for an ordinary Job."""
    wish: DeferralWish | None = None
    """The owner's wish that its start is chosen; None without the label."""

    @property
    def managed(self) -> bool:
        """Whether another controller than Kubernetes' own decides when it runs."""
        return bool(self.manager)


def parse_job(body: Mapping[str, object]) -> Job:
    """The Job of a batch/v1 object; a field that is missing or of another type is empty."""
    metadata, spec, status = mapping(body.get("metadata")), mapping(body.get("spec")), mapping(body.get("status"))
    labels, owner = mapping(metadata.get("labels")), controller_of(metadata)
    conditions = _conditions(status)
    ended = [at for kind, (holds, at) in conditions.items() if kind in ("Complete", "Failed") and holds]
    suspension = conditions.get("Suspended", (True, 0))
    managers = writers_of(metadata, "suspend")
    template = at(spec, "template", "metadata", "labels")
    template = {key: value for key, value in template.items() if key not in _GENERATED}
    return Job(
        uid=text(metadata.get("uid")),
        namespace=sys.intern(text(metadata.get("namespace"))),
        name=text(metadata.get("name")),
        version=text(metadata.get("resourceVersion")),
        template_labels={
            sys.intern(key): sys.intern(str(value)) for key, value in islice(sorted(template.items()), _MAX_LABELS)
        },
        labels_cut=len(template) > _MAX_LABELS,
        annotations=our_annotations(metadata),
        opted_in=labels.get(SUSPENDABLE_LABEL) == "true",
        exempt=labels.get(EXEMPT_LABEL) == "true",
        marked=labels.get(SUSPENDED_LABEL) == "true",
        suspended=spec.get("suspend") is True,
        manager=sys.intern(_manager(labels, spec, owner, managers)),
        suspend_managers=tuple(managers),
        owner_kind=sys.intern(text(owner.get("kind"))[:_MAX_NAME]),
        owner_name=sys.intern(text(owner.get("name"))[:_MAX_NAME]),
        created_at=instant(text(metadata.get("creationTimestamp"))),
        started_at=instant(text(status.get("startTime"))),
        finished_at=max([instant(text(status.get("completionTime"))), *ended]) if ended else 0,
        resumed_at=0 if suspension[0] else suspension[1],
        wish=parse_wish(body),
    )


def patched_job(job: Job, patch: Mapping[str, object], answer: Mapping[str, object]) -> Job:
    """A Job after a patch of ours. `answer` has only the metadata, since a whole Job may be 1.5 MB."""
    seen, suspended = parse_job(answer), mapping(patch.get("spec")).get("suspend")
    return replace(
        job,
        version=seen.version,
        annotations=seen.annotations,
        opted_in=seen.opted_in,
        exempt=seen.exempt,
        marked=seen.marked,
        suspended=job.suspended if suspended is None else suspended is True,
        suspend_managers=seen.suspend_managers,
    )


def instant(text: str) -> int:
    """UTC seconds of a time as Kubernetes writes it; 0 for any other text, since an annotation may have any."""
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        return 0
    return int(value.timestamp()) if value.tzinfo else 0


def controller_of(metadata: Mapping[str, object]) -> JsonObject:
    """The owner reference of an object's controller; empty without one."""
    return next((owner for owner in objects(metadata.get("ownerReferences")) if owner.get("controller") is True), {})


def _manager(labels: JsonObject, spec: JsonObject, owner: JsonObject, writers: Iterable[str]) -> str:
    """The name of the other controller that decides when a Job runs; empty for Kubernetes' own controller."""
    # Kueue can be configured to manage Jobs without the label too: then it has written spec.suspend.
    if _QUEUE_LABEL in labels or any(name.startswith("kueue") for name in writers):
        return "Kueue"
    if (managed_by := text(spec.get("managedBy")) or _OWN_CONTROLLER) != _OWN_CONTROLLER:
        return managed_by[:_MAX_NAME]
    kind = text(owner.get("kind"))
    return kind if (text(owner.get("apiVersion")).partition("/")[0], kind) in _RESUMING_OWNERS else ""


def _conditions(status: JsonObject) -> dict[str, tuple[bool, int]]:
    """By type: whether the condition is true, and since when (UTC seconds)."""
    return {
        text(item.get("type")): (item.get("status") == "True", instant(text(item.get("lastTransitionTime"))))
        for item in objects(status.get("conditions"))
    }


def our_annotations(metadata: Mapping[str, object]) -> dict[str, str]:
    """The annotations of an object that are ours, each cut at 300 characters."""
    annotations = mapping(metadata.get("annotations"))
    return {key: str(annotations[key])[:_MAX_TEXT] for key in _OURS if key in annotations}


def writers_of(metadata: Mapping[str, object], field: str) -> dict[str, str]:
    """The other field managers that own that field of the spec, and when each last wrote any of its fields."""
    found = {
        sys.intern(text(entry.get("manager"))): text(entry.get("time"))
        for entry in objects(metadata.get("managedFields"))
        if f"f:{field}" in at(entry, "fieldsV1", "f:spec") and text(entry.get("manager")) != CONTROLLER_MANAGER
    }
    return dict(islice(sorted(found.items()), _MAX_MANAGERS))
