"""Kueue's Workloads: which one is a Job's, and what is decided and written in the Job's place."""

from __future__ import annotations

from typing import Any

import pytest
from tests.enforcement.worlds import HOUR, NOW, Body, a_budget, a_job, merged

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.job_fields import Job
from carbonbudget_operator.enforcement.kueue import (
    KueueWorkload,
    jobs_with_workloads,
    parse_workload,
    patch_of_workload,
    patched_workload,
)
from carbonbudget_operator.enforcement.suspension_actions import Announce, Resume, Suspend, SuspensionDecision, Unmark
from carbonbudget_operator.enforcement.suspension_decisions import decide_suspensions
from carbonbudget_operator.enforcement.suspension_patches import patch_of_suspension

QUEUED = {"carbonbudget.dev/suspendable": "true", "kueue.x-k8s.io/queue-name": "q"}
MARKED = {
    "labels": {"carbonbudget.dev/suspended": "true"},
    "annotations": {"carbonbudget.dev/suspended-by": "team-a/monthly"},
}


def workload_body(active: bool | None = None, owner: Body | None = None, **metadata: Any) -> Body:
    """Of the Job `train`, admitted or not; `metadata`: labels, annotations, managedFields and others."""
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "uid-train", "controller": True}
    made = {"name": "job-train-1a2b3", "namespace": "team-a", "uid": "uid-w", "resourceVersion": "3"}
    spec = {"queueName": "q"} | ({"active": active} if active is not None else {})
    return {"metadata": made | {"ownerReferences": [reference | (owner or {})]} | metadata, "spec": spec}


def a_workload(active: bool | None = None, **more: Any) -> KueueWorkload:
    found = parse_workload(workload_body(active, **more))
    assert found is not None
    return found


def written_by(manager: str, at: int) -> dict[str, Any]:
    entry = {"manager": manager, "time": format_time(at), "fieldsV1": {"f:spec": {"f:active": {}}}}
    return {"managedFields": [entry]}


def decided(workload: KueueWorkload, job: Job | None = None, suspends: bool = True) -> SuspensionDecision:
    job = job or a_job(labels=QUEUED, suspend=True)
    budgets = [a_budget(suspend_from=NOW - 60)] if suspends else []
    jobs = [job, *jobs_with_workloads({job.uid: job}, [workload])]
    return decide_suspensions(budgets, jobs, {"team-a": {}}, NOW, 0, True, frozenset())


@pytest.mark.parametrize(
    "owner",
    [
        {"controller": False}, {"kind": "CronJob"}, {"apiVersion": "evil.example/v1"}, {"uid": "another"}, {"uid": ""},
    ],
)  # fmt: skip
def test_only_the_workload_whose_controller_is_that_very_job_is_its(owner: Body) -> None:
    found = parse_workload(workload_body(owner=owner))
    job = a_job(labels=QUEUED)
    assert list(jobs_with_workloads({job.uid: job}, [found] if found is not None else [])) == []


def test_a_workload_of_another_namespace_is_none_of_the_job() -> None:
    job = a_job(labels=QUEUED)
    assert list(jobs_with_workloads({job.uid: job}, [a_workload(namespace="team-b")])) == []


def test_an_active_workload_is_announced_and_then_deactivated_and_the_job_is_left_alone() -> None:
    job = a_job(labels=QUEUED, suspend=False)
    soon = decide_suspensions(
        [a_budget(suspend_from=NOW + 60)],
        list(jobs_with_workloads({job.uid: job}, [a_workload()])),
        {},
        NOW,
        0,
        True,
        frozenset(),
    )
    assert [type(action) for action in soon.actions] == [Announce]
    (action,) = decided(a_workload(), job).actions
    assert isinstance(action, Suspend)
    assert action.job.queued is not None
    assert action.job.queued.name == "job-train-1a2b3"
    patch, note = patch_of_suspension(action, NOW)
    assert patch_of_workload(patch)["spec"] == {"active": False}
    assert note is not None
    assert note.reason == "SuspendedByCarbonBudget"


def test_one_that_waits_in_its_queue_is_deactivated_too() -> None:
    (action,) = decided(a_workload(), a_job(labels=QUEUED, suspend=True)).actions
    assert isinstance(action, Suspend)


def test_without_the_opt_in_nothing_is_done() -> None:
    assert decided(a_workload(), a_job(labels={"kueue.x-k8s.io/queue-name": "q"})).actions == []


def test_what_we_deactivated_is_activated_again_once_no_budget_suspends() -> None:
    ours = a_workload(False, **MARKED)
    assert decided(ours).actions == []
    (resume,) = decided(ours, suspends=False).actions
    assert isinstance(resume, Resume)
    assert patch_of_workload(patch_of_suspension(resume, NOW)[0])["spec"] == {"active": True}


def test_what_somebody_else_deactivated_stays_so() -> None:
    assert decided(a_workload(False), suspends=False).actions == []
    forged = a_workload(False, labels={"carbonbudget.dev/suspended": "true"})  # without our annotation
    (action,) = decided(forged, suspends=False).actions
    assert isinstance(action, Unmark)
    assert "spec" not in patch_of_workload(patch_of_suspension(action, NOW)[0])


def test_a_workload_that_somebody_else_activated_runs_on_and_is_reported() -> None:
    decision = decided(a_workload(True, **MARKED, **written_by("kubectl-edit", NOW - 30)))
    assert decision.actions == []
    assert decision.conflicts == {
        "team-a/monthly": "suspended Jobs were resumed and are left running: team-a/train by kubectl-edit"
    }


def test_who_activated_it_and_took_our_marks_away_is_not_fought_either() -> None:
    decision = decided(a_workload(True, **written_by("kubectl-edit", NOW - 30)))
    assert decision.actions == []
    assert "kubectl-edit" in decision.conflicts["team-a/monthly"]


@pytest.mark.parametrize("manager", ["kueue", "kueue-admission", "carbonbudget"])
def test_a_write_of_kueue_or_ours_is_no_conflict(manager: str) -> None:
    (action,) = decided(a_workload(True, **written_by(manager, NOW - 30))).actions
    assert isinstance(action, Suspend)


def test_after_our_patch_a_workload_is_what_the_answers_metadata_and_the_patch_say() -> None:
    before = workload_body(True)
    (action,) = decided(a_workload(True), a_job(labels=QUEUED)).actions
    patch = patch_of_workload(patch_of_suspension(action, NOW + HOUR)[0])
    after = merged(before, patch)
    after["metadata"]["resourceVersion"] = "4"
    assert patched_workload(a_workload(True), patch, {"metadata": after["metadata"]}) == parse_workload(after)
