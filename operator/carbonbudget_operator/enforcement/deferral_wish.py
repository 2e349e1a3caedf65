"""The wish of a Job's owner that its start is chosen, as far as the Job's object states it. No I/O and no clock."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import at, mapping, objects, text, texts, whole_number
from carbonbudget_operator.api.wire_names import DEFER_LABEL, EXPECTED_DURATION_ANNOTATION, FINISH_BY_ANNOTATION
from carbonbudget_operator.budgets.expected_emissions import WorkloadPlan
from carbonbudget_operator.budgets.workload_demand import INSTANCE_TYPE_LABELS, duration_s, pod_demand

_MAX_TEXT: Final = 60
_MAX_NAME: Final = 253
_MOST_PODS: Final = 10**6  # more than a cluster runs; only here: what the webhook reads of a review, it does not store


@dataclass(frozen=True, slots=True)
class DeferralWish:
    """What the owner stated; texts as they were written, cut at 60 characters.

    Attributes:
        finish_by: the annotation; empty without one.
        duration: the expected duration, of the Job or else of its pod template; empty without one.
        unchanged: whether the Job's spec is the one that it was created with.
        plan: its pods and their requests.
        workload: KIND/NAME as the server counts its former runs.
        instance_type: of the nodes that its pods ask for; empty for any.
    """

    finish_by: str
    duration: str
    unchanged: bool
    plan: WorkloadPlan
    workload: str
    instance_type: str


def parse_wish(body: Mapping[str, object]) -> DeferralWish | None:
    """The wish of a batch/v1 Job; None without the label."""
    metadata = mapping(body.get("metadata"))
    if mapping(metadata.get("labels")).get(DEFER_LABEL) != "true":
        return None
    spec = mapping(body.get("spec"))
    return DeferralWish(
        finish_by=text(mapping(metadata.get("annotations")).get(FINISH_BY_ANNOTATION)).strip()[:_MAX_TEXT],
        duration=(duration := stated_duration(body)[:_MAX_TEXT]),
        unchanged=whole_number(metadata.get("generation"), 1) <= 1,
        plan=job_plan(spec, duration_s(duration) or 0),
        workload=counted_workload(metadata)[: 2 * _MAX_NAME],
        instance_type=sys.intern(instance_type_of(spec)[:_MAX_NAME]),
    )


def stated_duration(body: Mapping[str, object]) -> str:
    """The expected duration as its owner wrote it on the Job, else on its pod template; empty without one."""
    annotated = (at(body, "metadata", "annotations"), at(body, "spec", "template", "metadata", "annotations"))
    stated = (text(one.get(EXPECTED_DURATION_ANNOTATION)).strip() for one in annotated)
    return next(filter(None, stated), "")


def instance_type_of(spec: Mapping[str, object]) -> str:
    """The instance type of the nodes that a Job's pods ask for; empty for any."""
    node = texts(at(spec, "template", "spec", "nodeSelector"))
    return next((node[key] for key in INSTANCE_TYPE_LABELS if key in node), "")


def job_plan(spec: Mapping[str, object], stated_s: int) -> WorkloadPlan:
    """The pods of a Job's spec, as many of them at once as it allows."""
    pod = at(spec, "template", "spec")
    parallelism = min(whole_number(spec.get("parallelism"), 1), _MOST_PODS)
    completions = min(whole_number(spec.get("completions"), parallelism), _MOST_PODS)
    at_once = min(parallelism, completions)
    return WorkloadPlan(
        demand=pod_demand(pod), at_once=at_once, pods=max(1, completions), stated_s=stated_s,
        deadline_s=whole_number(spec.get("activeDeadlineSeconds"), 0),
        pod_deadline_s=whole_number(pod.get("activeDeadlineSeconds"), 0),
    )  # fmt: skip


def counted_workload(metadata: Mapping[str, object]) -> str:
    """KIND/NAME by which the server counts its runs: of its controller, if it has one."""
    for owner in objects(metadata.get("ownerReferences")):
        if owner.get("controller") is True:
            return f"{text(owner.get('kind'))}/{text(owner.get('name'))}"
    return f"Job/{text(metadata.get('name'))}"
