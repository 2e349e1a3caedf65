"""The new or changed object of a review, as the rules need it: pod labels, owner, requests and durations. Pure.

Requests and durations are read when a projection first asks for them. A review that a budget refuses by its use needs
no projection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from carbonbudget_core.jsons import JsonObject, at, objects, text, texts, whole_number
from carbonbudget_operator.admission.review_parser import Review
from carbonbudget_operator.admission.workload_kinds import DAEMON_SET, JOB, POD, WorkloadKind, pods_at_once
from carbonbudget_operator.api.kubernetes_event import InvolvedObject
from carbonbudget_operator.api.wire_names import EXEMPT_LABEL, EXPECTED_DURATION_ANNOTATION
from carbonbudget_operator.budgets.expected_emissions import WorkloadPlan
from carbonbudget_operator.budgets.workload_demand import INSTANCE_TYPE_LABELS, duration_s, pod_demand

_KUBE_SYSTEM = "system:serviceaccount:kube-system:"
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True)  # without slots: `plan` and `expected_s` are computed once
class ReviewedWork:
    """The object under review.

    Attributes:
        workload_kind: its workload kind.
        name: its name, or its generateName on CREATE.
        about: the object that an Event about the decision names.
        exempt: whether budgets do not apply to it.
        labels: the labels of its pods.
        own_labels: the labels of the object itself.
        workload: KIND/NAME as the server counts it, of the controller if there is one.
        instance_type: of the nodes that its pods ask for; empty for any.
        account: the service account that creates it under a controller and may be the controller's own.
        duration: the expected duration as its owner wrote it; empty without one.
        pods_in: the object from which the pods are read; None if the number of pods cannot be known.
    """

    workload_kind: WorkloadKind
    name: str
    about: InvolvedObject
    exempt: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    own_labels: Mapping[str, str] = field(default_factory=dict)
    workload: str = ""
    instance_type: str = ""
    account: str = ""
    duration: str = ""
    pods_in: JsonObject | None = None

    @cached_property
    def expected_s(self) -> int:
        """The owner's expected duration in seconds; 0 without one, or if the text is no duration."""
        return duration_s(self.duration) or 0

    @cached_property
    def plan(self) -> WorkloadPlan | None:
        """The pods, their requests and how long they run; None if the number of pods cannot be known."""
        if self.pods_in is None or not projects(self.workload_kind.kind):
            return None
        spec, pod = at(self.pods_in, "spec"), at(self.pods_in, *self.workload_kind.template, "spec")
        is_job, at_once = self.workload_kind is JOB, pods_at_once(self.pods_in, self.workload_kind)
        return WorkloadPlan(
            demand=pod_demand(pod),
            at_once=at_once,
            pods=max(1, whole_number(spec.get("completions"), at_once)) if is_job else at_once,
            stated_s=self.expected_s,
            deadline_s=whole_number(spec.get("activeDeadlineSeconds"), 0) if is_job else 0,
            pod_deadline_s=whole_number(pod.get("activeDeadlineSeconds"), 0),
            endless=self.workload_kind.endless,
        )


def work_of(review: Review, workload_kind: WorkloadKind) -> ReviewedWork:
    """Reads the new object of the review."""
    metadata = at(review.object, "metadata")
    template = at(review.object, *workload_kind.template)
    own_labels, name = texts(metadata.get("labels")), review.name or text(metadata.get("generateName"))
    owner = _controller(metadata, review.namespace)
    # On CREATE the API server has set a uid before it asks: each retry of a refused creation has another one.
    uid = "" if review.operation == "CREATE" else text(metadata.get("uid"))
    about = InvolvedObject(workload_kind.api_version, workload_kind.kind, name, review.namespace, uid)
    # The annotation of the object, else of its pod template.
    annotated = (
        at(one, "annotations").get(EXPECTED_DURATION_ANNOTATION) for one in (metadata, at(template, "metadata"))
    )
    duration = next((written for written in annotated if isinstance(written, str) and written.strip()), "")
    node = texts(at(template, "spec", "nodeSelector"))
    account = review.username if owner is not None and review.operation == "CREATE" else ""
    if not account.startswith("system:serviceaccount:") or account.startswith(_KUBE_SYSTEM):
        account = ""
    # A Job of a CronJob exists for an hour and has a random name, and refused work never exists. Users look at the
    # owner.
    if owner is not None and (account or owner.kind == "CronJob") and _is_name(owner):
        about = owner
    if owner is not None:
        workload = f"{owner.kind}/{owner.name}"
    else:
        workload = f"{workload_kind.kind}/{review.name}" if review.name else ""
    return ReviewedWork(
        workload_kind=workload_kind,
        name=name,
        about=about,
        # A pod's label may come from a Job's template; the chart's matchConditions decide who may exempt.
        exempt=own_labels.get(EXEMPT_LABEL) == "true" and not (workload_kind is POD and review.operation == "UPDATE"),
        labels=texts(at(template, "metadata").get("labels")),
        own_labels=own_labels,
        workload=workload,
        instance_type=next((node[key] for key in INSTANCE_TYPE_LABELS if key in node), ""),
        account=account,
        duration=duration,
        pods_in=review.object,
    )


def projects(kind: str) -> bool:
    """Whether the emissions of new work of a kind can be expected: not if the nodes decide how many pods it has."""
    return kind != DAEMON_SET.kind


def _controller(metadata: JsonObject, namespace: str) -> InvolvedObject | None:
    for reference in objects(metadata.get("ownerReferences")):
        if reference.get("controller") is True:
            version, kind, name, uid = (text(reference.get(key)) for key in ("apiVersion", "kind", "name", "uid"))
            return InvolvedObject(version, kind, name, namespace, uid)
    return None


def _is_name(owner: InvolvedObject) -> bool:
    """Whether an object can have this kind and name: an ownerReference holds any text that its author wrote."""
    return _KIND.fullmatch(owner.kind) is not None and _NAME.fullmatch(owner.name) is not None
