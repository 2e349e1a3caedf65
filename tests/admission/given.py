"""Budgets, reviews and a review handler for the tests of admission."""

from __future__ import annotations

import datetime as dt
from typing import Any

from carbonbudget_operator.admission.admission_decision import AdmissionDecision, Mode
from carbonbudget_operator.admission.budget_cache import BudgetCache
from carbonbudget_operator.admission.projection_cache import ProjectionCache
from carbonbudget_operator.admission.review_handler import ReviewHandler
from carbonbudget_operator.admission.review_parser import parse_review
from carbonbudget_operator.admission.workload_cache import WorkloadCache
from carbonbudget_operator.admission.workload_kinds import workload_kinds
from carbonbudget_operator.api.projection_bodies import CapacityRate, FormerRuns, ProjectionAnswer
from carbonbudget_operator.settings import EnforcedKind

NOW = 1_795_000_000
HOUR = 3600
TRAIN = EnforcedKind(
    kind="TrainJob",
    group="train.example",
    version="v1",
    resource="trainjobs",
    template="spec.worker.template",
    replicas="spec.worker.count",
)
RESOURCES = {
    "Job": ("batch", "jobs"),
    "Pod": ("", "pods"),
    "Deployment": ("apps", "deployments"),
    "StatefulSet": ("apps", "statefulsets"),
    "ReplicaSet": ("apps", "replicasets"),
    "DaemonSet": ("apps", "daemonsets"),
    "ReplicationController": ("", "replicationcontrollers"),
    "TrainJob": ("train.example", "trainjobs"),
}
APPS = ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"]


def instant(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_budget(
    name: str = "tight",
    state: str = "Exceeded",
    percent: int = 110,
    *,
    used_g: int = 0,
    until: int = 0,
    begins: int = NOW - HOUR,
    ends: int = NOW + 10 * HOUR,
    namespace: str = "team-a",
    **spec: object,
) -> dict[str, Any]:
    """A CarbonBudget of 1 kg; `until` makes it block."""
    status: dict[str, Any] = {
        "state": state,
        "action": "" if state == "WithinBudget" else "Block" if until else "Warn",
        "percentUsed": percent,
        "usedMicrograms": used_g * 10**6,
        "message": f"carbon budget {name}: used up",
        "period": {"start": instant(begins), "end": instant(ends)},
    }
    if until:
        status["enforcement"] = {"action": "Block", "until": instant(until)}
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"metadata": metadata, "spec": {"limit": "1kg", "period": "Month"} | spec, "status": status}


def an_object(kind: str = "Job", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """One that requests a core. `spec` is laid over its spec; `metadata` in it over its metadata."""
    metadata = {"name": "train"} | spec.pop("metadata", {})
    pod_spec = {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]} | spec.pop("pod", {})
    template = {"metadata": {"labels": labels or {}}, "spec": pod_spec}
    if kind == "Pod":
        own = {"labels": labels or {}} | metadata
        return {"metadata": own, "spec": pod_spec | spec}
    if kind == "TrainJob":
        return {"metadata": metadata, "spec": {"worker": {"template": template} | spec}}
    return {"metadata": metadata, "spec": {"template": template} | spec}


def a_review(
    kind: str, new: dict[str, Any], old: dict[str, Any] | None = None, *, subresource: str = "", **more: Any
) -> dict[str, Any]:
    """The AdmissionReview: UPDATE where there is an old object."""
    group, plural = RESOURCES[kind]
    request = {
        "uid": "u",
        "operation": "CREATE" if old is None else "UPDATE",
        "namespace": "team-a",
        "name": new["metadata"].get("name", ""),
        "resource": {"group": group, "version": "v1", "resource": plural},
        "subResource": subresource,
        "object": new,
        "oldObject": old,
    }
    return {"request": request | more}


class Bench:
    """Caches filled by hand, and a review handler that reads them."""

    def __init__(self, *budgets: dict[str, Any], mode: Mode = "Enforce") -> None:
        self.kinds = workload_kinds([TRAIN])
        self.budgets, self.workloads, self.table = BudgetCache(), WorkloadCache(self.kinds), ProjectionCache()
        self.handler = ReviewHandler(self.kinds, self.budgets, self.workloads, self.table, mode)
        for body in budgets:
            kept = self.budgets.own if "namespace" in body["metadata"] else self.budgets.wide
            kept.put("ADDED", body)

    def namespace(self, name: str, **labels: str) -> None:
        """A namespace with these labels, now."""
        self.budgets.namespaces.seen("MODIFIED", {"metadata": {"name": name, "labels": labels}})
        self.budgets.namespaces.listed = True

    def knows(self, *runs: FormerRuns, core_hour_ug: int = 10**6, as_of: int = NOW) -> Bench:
        """The server's table: what a core emits in an hour, and former runs."""
        rate = CapacityRate(
            instance_type="",
            core_hour_location_ug=core_hour_ug,
            core_hour_market_ug=core_hour_ug // 2,
            core_hour_embodied_ug=core_hour_ug // 10,
            gpu_hour_location_ug=0,
            gpu_hour_market_ug=0,
            gpu_hour_embodied_ug=0,
            modelled=False,
        )
        self.table.store(ProjectionAnswer(as_of=as_of, rates=[rate], runs=list(runs)))
        return self

    def answers(self, review: dict[str, Any]) -> AdmissionDecision:
        return self.handler.decide(parse_review(review), NOW)

    def creates(self, kind: str = "Job", labels: dict[str, str] | None = None, **spec: Any) -> AdmissionDecision:
        return self.answers(a_review(kind, an_object(kind, labels, **spec)))

    def changes(self, kind: str, before: dict[str, Any], after: dict[str, Any], **common: Any) -> AdmissionDecision:
        old, new = an_object(kind, **common, **before), an_object(kind, **common, **after)
        return self.answers(a_review(kind, new, old))

    def watched(self) -> set[tuple[str, str]]:
        """Which kinds' objects are watched for their labels, and where."""
        return {
            (workload_kind.kind, where) for workload_kind, where in self.budgets.scaled_kinds(self.workloads.kinds, NOW)
        }
