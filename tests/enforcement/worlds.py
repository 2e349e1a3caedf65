"""Jobs and budgets of the tests: the objects as an API server gives them, and a patch as it takes it."""

from __future__ import annotations

import copy
from typing import Any

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget, parse_budget
from carbonbudget_operator.enforcement.job_fields import Job, parse_job

NOW = 1_795_460_000
HOUR = 3600
Body = dict[str, Any]

# The status of a budget with three runs.
RUNS: Body = {
    "state": "Exceeded", "percentUsed": 110, "dataThrough": "2026-11-23T18:50:00Z",
    "topWorkloads": [
        {"kind": "Job", "name": "big", "emissions": "5.5kg", "percent": 110, "state": "Exceeded"},
        {"kind": "Job", "name": "train", "emissions": "4.6kg", "percent": 92, "state": "Warning"},
        {"kind": "Job", "name": "small", "emissions": "1g", "percent": 0, "state": "WithinBudget"},
    ],
}  # fmt: skip


def job_body(name: str = "train", namespace: str = "team-a", **more: Any) -> Body:
    """A running Job; `more`: labels, annotations, template (labels), suspend, status, owner, metadata."""
    body: Body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": more.get("uid", f"uid-{name}"),
            "resourceVersion": "7",
            "creationTimestamp": format_time(NOW - 2 * HOUR),
            "labels": more.get("labels", {"carbonbudget.dev/suspendable": "true"}),
            "annotations": more.get("annotations", {}),
        },
        "spec": {"suspend": more.get("suspend", False), "template": {"metadata": {"labels": more.get("template", {})}}},
        "status": more.get("status", {"startTime": format_time(NOW - 2 * HOUR)}),
    }
    if "owner" in more:
        kind, owner = more["owner"]
        body["metadata"]["ownerReferences"] = [{"kind": kind, "name": owner, "controller": True}]
    body["metadata"] |= more.get("metadata", {})
    body["spec"] |= more.get("spec", {})
    return body


def finished(at: int, started: int, kind: str = "Complete") -> Body:
    """The status of a Job that ended at `at`."""
    return {
        "startTime": format_time(started),
        **({"completionTime": format_time(at)} if kind == "Complete" else {}),
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": format_time(at)}],
    }


def a_job(name: str = "train", namespace: str = "team-a", **more: Any) -> Job:
    """The same, read."""
    return parse_job(job_body(name, namespace, **more))


def budget_body(name: str = "monthly", namespace: str = "team-a", **more: Any) -> Body:
    """A budget; `more`: spec, status, and `suspend_from` for one that has reached Suspend, `until` with it."""
    status = {"evaluatedGeneration": 1, "state": "Exceeded", "percentUsed": 101} | more.get("status", {})
    if "suspend_from" in more:
        status["enforcement"] = {
            "action": "Suspend",
            "until": format_time(more.get("until", NOW + 6 * HOUR)),
            "suspendFrom": format_time(more["suspend_from"]),
        }
    thresholds = [{"at": 90, "action": "Block"}, {"at": 100, "action": "Suspend"}]
    metadata = {"name": name, "uid": f"uid-{namespace}-{name}", "generation": more.get("generation", 1)}
    return {
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": "CarbonBudget" if namespace else "ClusterCarbonBudget",
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
        "spec": {"limit": "5kg", "period": "Month", "thresholds": thresholds} | more.get("spec", {}),
        "status": status,
    }


def a_budget(name: str = "monthly", namespace: str = "team-a", **more: Any) -> EnforcedBudget:
    """The same, read."""
    budget = parse_budget(budget_body(name, namespace, **more))
    assert budget is not None
    return budget


def merged(body: Body, patch: Body) -> Body:
    """RFC 7386."""
    made = copy.deepcopy(body)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            made[key] = merged(made.get(key) or {}, value)
        else:
            made[key] = value
    return made


def target_body(name: str = "chat", namespace: str = "team-a", state: str = "Violated", **more: Any) -> Body:
    """A target as the watch shows it; `more`: workloads as "KIND/NAME" or "KIND/NAME@NAMESPACE", changed (seconds)."""
    tops = []
    for workload in more.get("workloads", ("Deployment/web",)):
        which, _, where = workload.partition("@")
        kind, _, its_name = which.partition("/")
        tops.append({"kind": kind, "name": its_name} | ({"namespace": where} if where else {}))
    change = {"type": "OnTrack", "status": "False", "lastTransitionTime": format_time(more.get("changed", NOW))}
    metadata = {"name": name, "uid": f"{namespace}/{name}"} | ({"namespace": namespace} if namespace else {})
    return {"metadata": metadata, "status": {"state": state, "topWorkloads": tops, "conditions": [change]}}
