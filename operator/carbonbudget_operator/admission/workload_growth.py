"""Whether a change of a workload makes it run more pods, and how. Pure.

The chart's matchConditions (carbonbudget.grows) select the same changes, so that the API server sends no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from carbonbudget_core.jsons import JsonObject, at, items, texts, whole_number
from carbonbudget_operator.admission.review_parser import Review
from carbonbudget_operator.admission.workload_kinds import (
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    POD,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    WorkloadKind,
    pods_at_once,
)
from carbonbudget_operator.api.wire_names import SUSPENDED_LABEL

# The longest time that the cluster autoscaler grants a pod (--max-graceful-termination-sec).
LONGEST_END_SECONDS: Final = 600
# The growth that `growth` finds, for each kind of Kubernetes. For a configured kind it is more replicas, if the
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


def growth(review: Review, workload_kind: WorkloadKind) -> str:
    """How the work grows, as a few words; empty if it does not.

    A rollout is no growth. Neither is going from 0 replicas to any number: work that was scaled to zero must be able
    to return. A Job has no such way: its pods start when it is resumed, or when its parallelism is raised from 0. A Job
    that carbonbudget suspended may be resumed as it was, by its own controller or by GitOps: the budget reports that as
    a conflict.
    """
    if review.subresource == "scale":
        before, after = (whole_number(at(scale, "spec").get("replicas"), 0) for scale in (review.old, review.object))
        return _more(before, after)
    if workload_kind is POD:
        was_gated, is_gated = (bool(at(pod, "spec").get("schedulingGates")) for pod in (review.old, review.object))
        return "loses its last scheduling gate" if was_gated and not is_gated else ""
    if workload_kind is JOB:
        return _job_growth(review)
    if workload_kind is DAEMON_SET:
        return "may run on more nodes" if _widened(_pod_spec(review.old), _pod_spec(review.object)) else ""
    if not workload_kind.replicas:
        return ""
    before, after = pods_at_once(review.old, workload_kind), pods_at_once(review.object, workload_kind)
    return (_changed(review, workload_kind) if before else "") or _more(before, after)


def _changed(review: Review, workload_kind: WorkloadKind) -> str:
    """How the same number of replicas runs more pods: the earlier pods continue beside their replacements."""
    old, new = at(review.old, "spec"), at(review.object, "spec")
    if workload_kind is REPLICATION_CONTROLLER and at(old, "selector") != at(new, "selector"):
        return "selects other pods"
    if workload_kind is STATEFUL_SET:
        before, after = (whole_number(at(spec, "ordinals").get("start"), 0) for spec in (old, new))
        return "names its pods anew" if before != after else ""
    ends_s = whole_number(_pod_spec(review.old).get("terminationGracePeriodSeconds"), 30)
    rolls_out = at(old, "template") != at(new, "template")
    recreates = at(new, "strategy").get("type") == "Recreate"
    if workload_kind is DEPLOYMENT and ends_s > LONGEST_END_SECONDS and rolls_out and not recreates:
        return f"would run its former pods on for up to {ends_s} s"
    return ""


def _job_growth(review: Review) -> str:
    before, after = pods_at_once(review.old, JOB), pods_at_once(review.object, JOB)
    was_suspended, is_suspended = (at(job, "spec").get("suspend") is True for job in (review.old, review.object))
    if texts(at(review.old, "metadata").get("labels")).get(SUSPENDED_LABEL) != "true":
        if is_suspended:
            return ""
        if was_suspended:
            return "is resumed"
    return f"goes from parallelism {before} to {after}" if after > before else ""


def _more(before: int, after: int) -> str:
    return f"grows from {before} to {after} pods" if 0 < before < after else ""


def _pod_spec(found: JsonObject) -> JsonObject:
    return at(found, "spec", "template", "spec")


def _widened(before: JsonObject, after: JsonObject) -> bool:
    """Whether a DaemonSet with pod spec `after` may run on nodes on which `before` may not: more nodes are growth.

    True if a pair of nodeSelector is removed or changed, a required node affinity is changed, or a toleration is new. A
    new pair and a new affinity narrow. A changed affinity counts as wider, because comparing two of them needs the
    nodes, which are not read.
    """
    selector, affinity = at(after, "nodeSelector"), _required_affinity(before)
    tolerated = items(before.get("tolerations"))
    return (
        any(selector.get(key) != value for key, value in at(before, "nodeSelector").items())
        or any(toleration not in tolerated for toleration in items(after.get("tolerations")))
        or bool(affinity and affinity != _required_affinity(after))
    )


def _required_affinity(spec: JsonObject) -> JsonObject:
    return at(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
