"""Workloads of the job queue Kueue, by which its Jobs are suspended (`spec.active`). No I/O and no clock.

Kueue writes such a Job's `spec.suspend`, and creates a Workload for it. It evicts the Workload while `active` is false,
and queues it again when that is true. For a decision the Job gets the state and marks of its Workload. So announcement,
grace, resumption and conflicts are the same as for any Job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import SUSPENDED_LABEL
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.job_fields import (
    Job,
    QueuedWorkload,
    controller_of,
    instant,
    our_annotations,
    writers_of,
)
from carbonbudget_operator.enforcement.job_patches import Patch

GROUP: Final = "kueue.x-k8s.io"
_MAX_UID: Final = 64


def workloads(version: str) -> ApiPath:
    """The API path of Workloads. `version` is v1beta1 or v1beta2, which do not differ in the fields used here."""
    return ApiPath(GROUP, version, "workloads")


@dataclass(frozen=True, slots=True)
class KueueWorkload:
    """The Workload of a Job. `activated_at`: when others than Kueue and we last wrote `active` (0: never)."""

    uid: str
    namespace: str
    name: str
    version: str
    job_uid: str
    active: bool
    marked: bool
    annotations: Mapping[str, str]
    active_managers: tuple[str, ...]
    activated_at: int


def parse_workload(body: Mapping[str, object]) -> KueueWorkload | None:
    """The Workload of an object whose controller is a Job; None for any other."""
    metadata, spec = at(body, "metadata"), at(body, "spec")
    owner = controller_of(metadata)
    if (owner.get("apiVersion"), owner.get("kind")) != ("batch/v1", "Job"):
        return None
    writers = {name: at for name, at in writers_of(metadata, "active").items() if not name.startswith("kueue")}
    return KueueWorkload(
        uid=str(metadata.get("uid", "")),
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        version=str(metadata.get("resourceVersion", "")),
        job_uid=str(owner.get("uid", ""))[:_MAX_UID],
        active=spec.get("active") is not False,  # Kueue's default is true
        marked=at(metadata, "labels").get(SUSPENDED_LABEL) == "true",
        annotations=our_annotations(metadata),
        active_managers=tuple(sorted(writers)),
        activated_at=max((instant(at) for at in writers.values()), default=0),
    )


def jobs_with_workloads(jobs: Mapping[str, Job], found: Iterable[KueueWorkload]) -> Iterator[Job]:
    """Each Job that has a Workload in its namespace, with the state and marks of the Workload."""
    for workload in found:
        job = jobs.get(workload.job_uid)
        if job is not None and job.namespace == workload.namespace:
            yield replace(
                job,
                queued=QueuedWorkload(workload.uid, workload.name),
                version=workload.version,
                annotations=workload.annotations,
                marked=workload.marked,
                suspended=not workload.active,
                manager="",
                suspend_managers=workload.active_managers,
                resumed_at=workload.activated_at if workload.active else 0,
            )


def patch_of_workload(patch: Patch) -> Patch:
    """The patch of a Workload for that of its Job: `suspend: true` becomes `active: false`."""
    spec = patch.get("spec")
    if not isinstance(spec, dict):
        return patch
    return patch | {"spec": {"active": not spec["suspend"]}}


def patched_workload(workload: KueueWorkload, patch: Patch, answer: Mapping[str, object]) -> KueueWorkload:
    """A Workload after a patch of ours. `answer` has only the metadata."""
    spec = patch.get("spec")
    seen = parse_workload(answer) or workload
    return replace(seen, active=bool(spec["active"]) if isinstance(spec, dict) else workload.active)
