"""A Job as far as enforcement needs it. No I/O, no clock.

Of an object of 3 to 10 KB only what follows is kept: 2.1 KB (tracemalloc) for a Job that has six template labels which
no other has, an owner and all of our annotations, so 21 MB for 10,000 such Jobs. Annotations are ours alone and cut at
300 characters; of labels the first 64 are kept, as the ledger keeps of pods, since a selector may name any. So a Job
takes some 30 KB at most, however large its owner makes it.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from carbonbudget_core.jsons import JsonObject, at, mapping, objects, text
from carbonbudget_operator.api.resource_names import (
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
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
)

FIELD_MANAGER: Final = "carbonbudget"
_QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
_OWN_CONTROLLER: Final = "kubernetes.io/job-controller"
# These resume a Job of theirs that is suspended while they are not, so that its pods would be lost for nothing: JobSet
# 0.11.1 (resumeJobsIfNecessary), MPI operator 0.8.0 (syncHandler).
_RESUMING_OWNERS: Final = frozenset({("jobset.x-k8s.io", "JobSet"), ("kubeflow.org", "MPIJob")})
# Unique to each Job and never what a budget selects by; the agents leave them out as well.
_GENERATED: Final = frozenset({
    "controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name",
})  # fmt: skip
_OURS: Final = (
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
    EMISSIONS_ANNOTATION,
    FINAL_ANNOTATION,
    RESUME_AT_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    STATE_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
    SUSPENDED_BY_ANNOTATION,
)
_MAX_TEXT: Final = 300
_MAX_LABELS: Final = 64
_MAX_MANAGERS: Final = 4
_MAX_NAME: Final = 253  # of an owner: a reference is free text


@dataclass(frozen=True, slots=True)
class QueuedWorkload:
    """The Workload of Kueue that stands for a Job."""

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
    """Whether it has more of them than are kept."""
    annotations: Mapping[str, str]
    """Ours only."""
    opted_in: bool
    exempt: bool
    marked: bool
    """Whether it carries our label that says we suspended it."""
    suspended: bool
    manager: str
    """Who else decides when it runs, so that its spec.suspend is not ours to touch: Kueue, its spec.managedBy, or the
    kind that made it. Empty: Kubernetes' own controller."""
    suspend_managers: tuple[str, ...]
    """Who last wrote spec.suspend, by managedFields, without us."""
    owner_kind: str
    owner_name: str
    created_at: int
    started_at: int
    finished_at: int
    resumed_at: int
    """When the Job controller last saw spec.suspend turn false."""
    queued: QueuedWorkload | None = None
    """Its Workload, where that is what is suspended and marked in place of the Job."""

    @property
    def managed(self) -> bool:
        """Whether another controller than Kubernetes' own decides when it runs."""
        return bool(self.manager)


def parse_job(body: Mapping[str, object]) -> Job:
    """A Job of a batch/v1 object; what is missing is empty."""
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
    )


def patched_job(job: Job, patch: Mapping[str, object], answer: Mapping[str, object]) -> Job:
    """A Job after a patch of ours, of the metadata that it was answered with: a whole Job may be 1.5 MB."""
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
    """UTC seconds of an instant as Kubernetes writes it; 0 for nothing or nonsense (annotations may be anything)."""
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        return 0
    return int(value.timestamp()) if value.tzinfo else 0


def controller_of(metadata: Mapping[str, object]) -> JsonObject:
    """The owner reference of an object's controller; empty without one."""
    return next((owner for owner in objects(metadata.get("ownerReferences")) if owner.get("controller") is True), {})


def _manager(labels: JsonObject, spec: JsonObject, owner: JsonObject, writers: Iterable[str]) -> str:
    """Who decides when a Job runs, for people; empty where that is Kubernetes' own controller."""
    # Kueue can be configured to manage Jobs without the label too: then it has written spec.suspend.
    if _QUEUE_LABEL in labels or any(name.startswith("kueue") for name in writers):
        return "Kueue"
    if (managed_by := text(spec.get("managedBy")) or _OWN_CONTROLLER) != _OWN_CONTROLLER:
        return managed_by[:_MAX_NAME]
    kind = text(owner.get("kind"))
    return kind if (text(owner.get("apiVersion")).partition("/")[0], kind) in _RESUMING_OWNERS else ""


def _conditions(status: JsonObject) -> dict[str, tuple[bool, int]]:
    """Type to (whether it holds, since when)."""
    return {
        text(item.get("type")): (item.get("status") == "True", instant(text(item.get("lastTransitionTime"))))
        for item in objects(status.get("conditions"))
    }


def our_annotations(metadata: Mapping[str, object]) -> dict[str, str]:
    """Those of an object that are ours, cut."""
    annotations = mapping(metadata.get("annotations"))
    return {key: str(annotations[key])[:_MAX_TEXT] for key in _OURS if key in annotations}


def writers_of(metadata: Mapping[str, object], field: str) -> dict[str, str]:
    """Who else than we last wrote that field of the spec, by managedFields, and when they last wrote any of theirs."""
    found = {
        sys.intern(text(entry.get("manager"))): text(entry.get("time"))
        for entry in objects(metadata.get("managedFields"))
        if f"f:{field}" in at(entry, "fieldsV1", "f:spec") and text(entry.get("manager")) != FIELD_MANAGER
    }
    return dict(islice(sorted(found.items()), _MAX_MANAGERS))
