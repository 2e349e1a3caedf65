"""Reads the workload of an admission review: its pods' labels, its owner, its requests and how it grows. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_core.jsons import JsonObject, at, objects, text, texts, whole
from carbonbudget_operator.admission.placement import widened
from carbonbudget_operator.admission.review import Review
from carbonbudget_operator.admission.workload_kinds import (
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    POD,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    WorkloadKind,
)
from carbonbudget_operator.api.resource_names import EXEMPT_LABEL, EXPECTED_DURATION_ANNOTATION, SUSPENDED_LABEL
from carbonbudget_operator.budgets.expected_emissions import WorkloadPlan
from carbonbudget_operator.budgets.workload_demand import duration_s, pod_demand

INSTANCE_TYPE_LABELS = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
# What the cluster autoscaler grants a pod at most (--max-graceful-termination-sec).
LONGEST_END_SECONDS = 600
_KUBE_SYSTEM = "system:serviceaccount:kube-system:"
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """An object as an Event names it; `uid` is empty while it does not exist, and may never exist."""

    api_version: str
    kind: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class ReviewedWork:
    """The object under review.

    `workload` is KIND/NAME as the server counts it: its controller's, if it has one. `unread` is what its owner states
    as its duration and is none; empty where that is read or nothing is stated. `account` is the service account that
    makes it under a controller and may be a controller's own; those that are known as such are not judged.
    `labels` are its pods', `own_labels` the object's.
    """

    kind: str
    name: str
    exempt: bool
    labels: Mapping[str, str]
    about: ObjectReference
    workload: str
    instance_type: str
    plan: WorkloadPlan | None
    unread: str = ""
    account: str = ""
    own_labels: Mapping[str, str] = field(default_factory=dict)


def work_of(review: Review, shape: WorkloadKind) -> ReviewedWork:
    """What is created or changed, by the new object."""
    metadata = at(review.object, "metadata")
    template = at(review.object, *shape.template)
    labels = texts(at(template, "metadata").get("labels"))
    name = review.name or text(metadata.get("generateName"))
    owner = _controller(metadata)
    # On CREATE the API server has made up a uid before it asks: each retry of a refused create has another.
    uid = "" if review.operation == "CREATE" else text(metadata.get("uid"))
    itself = ObjectReference(shape.api_version, shape.kind, name, uid)
    node = texts(at(template, "spec").get("nodeSelector"))
    # The duration as written on the work, else on its pod template.
    written = (
        texts(one.get("annotations")).get(EXPECTED_DURATION_ANNOTATION, "")
        for one in (metadata, at(template, "metadata"))
    )
    stated = next((duration for duration in written if duration.strip()), "")
    stated_s = duration_s(stated) or 0
    made_by = review.username if owner is not None and review.operation == "CREATE" else ""
    a_controllers = made_by.startswith("system:serviceaccount:") and not made_by.startswith(_KUBE_SYSTEM)
    account = made_by if a_controllers else ""
    # A Job of a CronJob lives for an hour and has a random name: people look at the CronJob. What a controller could
    # not make never exists: people look at its owner.
    looked_at = owner if owner is not None and (account or owner.kind == "CronJob") and _is_name(owner) else itself
    counted = owner or (ObjectReference(shape.api_version, shape.kind, review.name) if review.name else None)
    return ReviewedWork(
        kind=shape.kind,
        name=name,
        # A pod's label may come from a Job's template; the chart's matchConditions let by who may exempt.
        exempt=texts(metadata.get("labels")).get(EXEMPT_LABEL) == "true"
        and not (shape is POD and review.operation == "UPDATE"),
        labels=labels,
        about=looked_at,
        workload=f"{counted.kind}/{counted.name}" if counted else "",
        instance_type=next((node[key] for key in INSTANCE_TYPE_LABELS if key in node), ""),
        plan=_plan(review.object, template, shape, stated_s),
        unread="" if stated_s else stated,
        account=account,
        own_labels=texts(metadata.get("labels")),
    )


# What is growth of each of Kubernetes' kinds, as `growth` finds it; of a configured kind: more replicas, if the
# settings name their field.
GROWTH: Final[Mapping[str, str]] = {
    "Job": "a Job that is resumed or runs more pods at a time",
    "Pod": "a Pod that loses its last scheduling gate",
    "Deployment": "more replicas of a Deployment or a rollout of one whose pods may take more than "
    f"{LONGEST_END_SECONDS} s to end",
    "StatefulSet": "more replicas or another first ordinal of a StatefulSet",
    "ReplicaSet": "more replicas of a ReplicaSet",
    "ReplicationController": "more replicas or another selector of a ReplicationController",
    "DaemonSet": "a DaemonSet that may run on more nodes",
}


def projects(kind: str) -> bool:
    """Whether it can be expected what work of a kind emits: not where the nodes decide how many pods it has."""
    return kind != DAEMON_SET.kind


def growth(review: Review, shape: WorkloadKind) -> str:
    """How the work grows, as a few words; empty where it does not.

    A rollout is no growth, and neither is going from 0 replicas to any: what was scaled to zero must come back.
    A Job has no such way: resuming it, or raising its parallelism from 0, is what starts its pods. A Job that we
    suspended may be resumed by its own controller or by GitOps, as it was: the budget reports that as a conflict. The
    chart's matchConditions (carbonbudget.grows) ask for the same, so that no other update comes here.
    """
    if review.subresource == "scale":
        return _more(
            whole(at(review.old, "spec").get("replicas"), 0), whole(at(review.object, "spec").get("replicas"), 0)
        )
    if shape is POD:
        return "loses its last scheduling gate" if _gated(review.old) and not _gated(review.object) else ""
    if shape is JOB:
        return _job_growth(review)
    if shape is DAEMON_SET:
        return "may run on more nodes" if widened(_pod_spec(review.old), _pod_spec(review.object)) else ""
    if not shape.replicas:
        return ""
    before = _pods(review.old, shape)
    if before and (changed := _changed(review, shape)):
        return changed
    return _more(before, _pods(review.object, shape))


def _changed(review: Review, shape: WorkloadKind) -> str:
    """How the same number of replicas brings more pods: former ones run on beside their replacements."""
    if shape is REPLICATION_CONTROLLER and _selector(review.old) != _selector(review.object):
        return "selects other pods"
    if shape is STATEFUL_SET and _first_ordinal(review.old) != _first_ordinal(review.object):
        return "names its pods anew"
    ends_s = whole(_pod_spec(review.old).get("terminationGracePeriodSeconds"), 30)
    rolls_out = at(review.old, "spec", "template") != at(review.object, "spec", "template")
    recreates = at(review.object, "spec", "strategy").get("type") == "Recreate"
    if shape is DEPLOYMENT and ends_s > LONGEST_END_SECONDS and rolls_out and not recreates:
        return f"would run its former pods on for up to {ends_s} s"
    return ""


def _job_growth(review: Review) -> str:
    before, after = _pods(review.old, JOB), _pods(review.object, JOB)
    suspended, stays_suspended = (at(job, "spec").get("suspend") is True for job in (review.old, review.object))
    if texts(at(review.old, "metadata").get("labels")).get(SUSPENDED_LABEL) != "true":
        if stays_suspended:
            return ""
        if suspended:
            return "is resumed"
    return f"goes from parallelism {before} to {after}" if after > before else ""


def _gated(pod: JsonObject) -> bool:
    return bool(at(pod, "spec").get("schedulingGates"))


def _pod_spec(found: JsonObject) -> JsonObject:
    return at(found, "spec", "template", "spec")


def _selector(found: JsonObject) -> JsonObject:
    return at(found, "spec", "selector")


def _first_ordinal(found: JsonObject) -> int:
    return whole(at(found, "spec", "ordinals").get("start"), 0)


def _is_name(owner: ObjectReference) -> bool:
    """Whether an object can be called so: an ownerReference has whatever its author wrote."""
    return _KIND.fullmatch(owner.kind) is not None and _NAME.fullmatch(owner.name) is not None


def _more(before: int, after: int) -> str:
    return f"grows from {before} to {after} pods" if 0 < before < after else ""


def _pods(found: JsonObject, shape: WorkloadKind) -> int:
    """How many at a time; an Indexed Job of fewer completions than parallelism may get more completions."""
    pods = whole(at(found, *shape.replicas[:-1]).get(shape.replicas[-1]), 1) if shape.replicas else 1
    return min(pods, whole(at(found, "spec").get("completions"), pods)) if shape is JOB else pods


def _plan(found: JsonObject, template: JsonObject, shape: WorkloadKind, stated_s: int) -> WorkloadPlan | None:
    if not projects(shape.kind):
        return None
    spec, pod = at(found, "spec"), at(template, "spec")
    at_once = pods = _pods(found, shape)
    deadline, pod_deadline = 0, whole(pod.get("activeDeadlineSeconds"), 0)
    if shape is JOB:
        deadline = whole(spec.get("activeDeadlineSeconds"), 0)
        pods = max(1, whole(spec.get("completions"), at_once))
    return WorkloadPlan(
        demand=pod_demand(pod),
        at_once=at_once,
        pods=pods,
        stated_s=stated_s,
        deadline_s=deadline,
        pod_deadline_s=pod_deadline,
        endless=shape.endless,
    )


def _controller(metadata: JsonObject) -> ObjectReference | None:
    for reference in objects(metadata.get("ownerReferences")):
        if reference.get("controller") is True:
            kind, name = text(reference.get("kind")), text(reference.get("name"))
            return ObjectReference(text(reference.get("apiVersion")), kind, name, text(reference.get("uid")))
    return None
