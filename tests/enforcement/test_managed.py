"""Jobs that another controller starts and stops: never suspended, and the budget says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.enforcement.worlds import HOUR, NOW, Body, a_budget, a_job

from carbonbudget_operator.controller.status_conditions import enforcement_conflict
from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.enforcement.job_fields import Job, QueuedWorkload
from carbonbudget_operator.enforcement.suspension_actions import Suspend, SuspensionDecision
from carbonbudget_operator.enforcement.suspension_decisions import decide_suspensions

OPTED_IN = {"carbonbudget.dev/suspendable": "true"}
QUEUE = OPTED_IN | {"kueue.x-k8s.io/queue-name": "q"}
REACHED = a_budget(suspend_from=NOW - 60)
RUNS_ON = "Jobs run on, because another controller decides when they run: "


def owned_by(api_version: str, kind: str) -> Body:
    owner = {"apiVersion": api_version, "kind": kind, "name": "set", "uid": "uid-set", "controller": True}
    return {"metadata": {"ownerReferences": [owner]}}


def decided(*jobs: Job, budget: Any = REACHED, enforced: bool = True) -> SuspensionDecision:
    return decide_suspensions([budget], jobs, {"team-a": {}}, NOW, 0, enforced, frozenset())


MANAGED: list[tuple[str, Body]] = [
    ("Kueue", {"labels": QUEUE}),
    ("Kueue", {"metadata": {"managedFields": [{"manager": "kueue", "fieldsV1": {"f:spec": {"f:suspend": {}}}}]}}),
    ("kueue.x-k8s.io/multikueue", {"spec": {"managedBy": "kueue.x-k8s.io/multikueue"}}),
    ("JobSet", owned_by("jobset.x-k8s.io/v1alpha2", "JobSet")),
    ("MPIJob", owned_by("kubeflow.org/v2beta1", "MPIJob")),
]


@pytest.mark.parametrize(("manager", "job"), MANAGED)
def test_it_runs_on_and_the_budget_names_it_with_its_controller(manager: str, job: Body) -> None:
    decision = decided(a_job(**job))
    assert decision.actions == []
    assert decision.conflicts == {"team-a/monthly": f"{RUNS_ON}team-a/train ({manager})"}
    assert decision.managed == {"team-a/monthly"}


@pytest.mark.parametrize(
    "job",
    [
        owned_by("batch/v1", "CronJob"),
        owned_by("evil.example/v1", "JobSet"),  # not JobSet's group
        {"spec": {"schedulerName": "volcano"}},
        {"labels": OPTED_IN | {"queue": "root.default", "applicationId": "a"}},  # YuniKorn's
        {"labels": OPTED_IN | {"scheduling.volcano.sh/queue-name": "q"}},
        {"spec": {"managedBy": "kubernetes.io/job-controller"}},
    ],
)
def test_who_only_schedules_or_made_it_does_not_keep_it_from_being_suspended(job: Body) -> None:
    decision = decided(a_job(**job))
    assert [type(action) for action in decision.actions] == [Suspend]
    assert decision.conflicts == {}


@pytest.mark.parametrize(
    ("job", "budget"),
    [
        ({"labels": QUEUE, "suspend": True}, REACHED),  # waits, and emits nothing
        ({"labels": {"kueue.x-k8s.io/queue-name": "q"}}, REACHED),  # did not opt in
        ({"labels": QUEUE | {"carbonbudget.dev/exempt": "true"}}, REACHED),
        ({"labels": QUEUE}, a_budget(suspend_from=NOW + 60)),  # grace
        ({"labels": QUEUE}, a_budget(suspend_from=NOW - HOUR, until=NOW)),
        ({"labels": QUEUE}, a_budget(suspend_from=NOW - 60, generation=2)),  # a limit that was raised since
        ({"labels": QUEUE}, a_budget(suspend_from=NOW - 60, spec={"per": "Workload"})),  # not over its own limit
    ],
)
def test_nothing_is_said_of_what_no_budget_would_suspend_now(job: Body, budget: Any) -> None:
    assert decided(a_job(**job), budget=budget).conflicts == {}
    assert decided(a_job(labels=QUEUE), enforced=False).conflicts == {}


def test_per_workload_the_one_over_its_own_limit_is_named() -> None:
    over = {"kind": "Job", "name": "train", "emissions": "6kg", "percent": 120}
    budget = a_budget(suspend_from=NOW - 60, spec={"per": "Workload"}, status={"topWorkloads": [over]})
    decision = decided(a_job(labels=QUEUE), a_job("other", labels=QUEUE), budget=budget)
    assert decision.conflicts == {"team-a/monthly": f"{RUNS_ON}team-a/train (Kueue)"}


def test_one_that_comes_once_more_as_its_workload_is_suspended_there_and_not_named() -> None:
    job = a_job(labels=QUEUE)
    decision = decided(job, replace(job, manager="", queued=QueuedWorkload("uid-w", "w")))
    assert [type(action) for action in decision.actions] == [Suspend]
    assert decision.conflicts == {}


def test_beside_what_somebody_resumed_both_are_named() -> None:
    marked = OPTED_IN | {"carbonbudget.dev/suspended": "true"}
    reverted = a_job("held", labels=marked, annotations={"carbonbudget.dev/suspended-by": "team-a/monthly"})
    decision = decided(a_job(labels=QUEUE), reverted)
    assert decision.conflicts == {
        "team-a/monthly": "suspended Jobs were resumed and are left running: team-a/held by an unknown field manager; "
        f"{RUNS_ON}team-a/train (Kueue)"
    }
    assert decision.managed == set()


def test_the_condition_has_a_reason_of_its_own_until_it_is_cleared() -> None:
    conflicts = ConflictStore()
    conflicts.report("a/b", "x", managed=True)
    assert enforcement_conflict(conflicts.of("a/b"), conflicts.managed("a/b")).reason == "ManagedElsewhere"
    conflicts.report("a/b", "y")
    assert enforcement_conflict(conflicts.of("a/b"), conflicts.managed("a/b")).reason == "Reverted"
    conflicts.report("a/b", "x", managed=True)
    conflicts.clear("a/b")
    assert enforcement_conflict(conflicts.of("a/b"), conflicts.managed("a/b")).reason == "NoConflict"
    conflicts.report("a/b", "x", managed=True)
    conflicts.forget_all_but([])
    assert not conflicts.managed("a/b")
