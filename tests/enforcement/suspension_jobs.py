"""Jobs, budgets and decisions of the tests of suspension."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.enforcement.worlds import HOUR, NOW, Body, a_budget, a_job

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.job_fields import Job
from carbonbudget_operator.enforcement.suspension_actions import SuspensionAction, SuspensionDecision
from carbonbudget_operator.enforcement.suspension_decisions import decide_suspensions

EXEMPT = frozenset({"kube-system", "carbonbudget-system"})


OPTED_IN = {"carbonbudget.dev/suspendable": "true"}


MARKED = OPTED_IN | {"carbonbudget.dev/suspended": "true"}


BY = {"carbonbudget.dev/suspended-by": "team-a/monthly"}


def decided(
    budgets: Iterable[EnforcedBudget],
    jobs: Iterable[Job],
    now: int = NOW,
    jitter_s: int = 300,
    enforced: bool = True,
    **more: Any,
) -> SuspensionDecision:
    return decide_suspensions(
        budgets, jobs, more.get("namespaces", {}), now, jitter_s, enforced, EXEMPT, more.get("here_since", 0)
    )


def actions(*args: Any, **more: Any) -> list[type[SuspensionAction]]:
    return [type(action) for action in decided(*args, **more).actions]


def suspended_job(**more: Any) -> Job:
    return a_job(**({"labels": MARKED, "annotations": BY, "suspend": True} | more))


REACHED = a_budget(suspend_from=NOW - 60)


BLOCKING = a_budget("weekly", status={"enforcement": {"action": "Block", "until": format_time(NOW + HOUR)}})


SUSPENDING_ONLY = a_budget(suspend_from=NOW - 60, spec={"enforce": {"kinds": ["Pod"]}})


OVER = {"kind": "Job", "name": "train", "emissions": "6kg", "percent": 120}


def per_workload(*top: Body, **more: Any) -> EnforcedBudget:
    return a_budget(suspend_from=NOW - 60, spec={"per": "Workload"}, status={"topWorkloads": list(top)}, **more)


def resumed_status(at: int) -> Body:
    return {"conditions": [{"type": "Suspended", "status": "False", "lastTransitionTime": format_time(at)}]}
