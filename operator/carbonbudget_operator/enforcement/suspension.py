"""Decides which Jobs to suspend and to resume, from the statuses of budgets, the Jobs and the time.

No I/O and no clock, and nothing is remembered: everything is in the objects. So a controller that was away decides
like one that was not, and a decision can be repeated without effect. The rules, each with a property test:

- A Job is not suspended if it did not opt in, is exempt, is managed by another controller, or is in an exempt namespace.
  (A Job of Kueue comes a second time with the state of its Workload, and is then decided about like any other.)
- A Job is not suspended before the budget's status.enforcement.suspendFrom, nor after its `until`.
- Only a Job with our label and our annotation is resumed, and not while a budget suspends it or refuses new Jobs like
  it.
- A Job that somebody else resumed is not suspended again, and one that another controller manages is not suspended. The
  budget reports both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_operator.api.resource_names import (
    RESUME_AT_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
    SUSPENDED_BY_ANNOTATION,
)
from carbonbudget_operator.enforcement.enforced_budgets import BudgetsByNamespace, EnforcedBudget, is_enforced_namespace
from carbonbudget_operator.enforcement.job import Job, instant

Labels = Mapping[str, Mapping[str, str]]
# Longest time between our patch and the Job controller's record of the resumption.
_ECHO_S: Final = 120
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Announce:
    """Announce that the Job will be suspended at `at` (UTC seconds), when its grace is over."""

    job: Job
    budget: EnforcedBudget
    at: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Withdraw the announcement."""

    job: Job


@dataclass(frozen=True, slots=True)
class Suspend:
    """Suspend the Job now."""

    job: Job
    budget: EnforcedBudget


@dataclass(frozen=True, slots=True)
class Keep:
    """Record the budget that keeps the Job suspended, and drop a planned resumption.

    It is a budget that suspends the Job, else one that refuses new Jobs like it.
    """

    job: Job
    budget: EnforcedBudget


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan the resumption for `at` (UTC seconds): no budget suspends the Job any more."""

    job: Job
    at: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Resume the Job now."""

    job: Job


@dataclass(frozen=True, slots=True)
class Unmark:
    """Remove our label and annotations alone: the Job runs already, or somebody else suspended it."""

    job: Job


Action = Announce | Withdraw | Suspend | Keep | Plan | Resume | Unmark


@dataclass(slots=True)
class EnforcementDecision:
    """The actions to carry out now, and the conflicts to report."""

    actions: list[Action] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    """The message of the condition EnforcementConflict, by the budget's key."""
    managed: set[str] = field(default_factory=set)
    """The keys of `conflicts` where no Job was resumed by others: another controller decides when the Jobs run."""
    wake_at: int = 0
    """When to decide again at the latest (UTC seconds); 0 for no need."""

    def wake(self, at: int) -> None:
        """Decide again at `at` at the latest."""
        self.wake_at = min(self.wake_at or at, at)


def decide_suspensions(
    budgets: Iterable[EnforcedBudget],
    jobs: Iterable[Job],
    namespaces: Labels,
    now: int,
    jitter_s: int,
    enforced: bool,
    exempt: frozenset[str],
    here_since: int = 0,
) -> EnforcementDecision:
    """Decide about all Jobs at `now` (UTC seconds).

    `namespaces`: their labels, as far as known. `enforced`: whether the cluster's mode is Enforce; otherwise nothing is
    suspended and suspended Jobs are resumed. `exempt`: namespaces in which budgets do not act. `here_since`: when this
    process first decided; resumptions that were planned for an earlier time are planned again. `jitter_s`: within how
    many seconds resumptions are spread.
    """
    decision = EnforcementDecision()
    budgets, jobs = list(budgets) if enforced else [], list(jobs)
    suspending = BudgetsByNamespace(budget for budget in budgets if budget.suspends(now))
    blocking = BudgetsByNamespace(budget for budget in budgets if budget.blocks_jobs(now))
    reverted: dict[str, list[Job]] = {}
    untouched: dict[str, list[Job]] = {}
    queued = {job.uid for job in jobs if job.queued is not None}
    for job in jobs:
        if job.finished_at or not (job.opted_in or job.marked or SUSPEND_AT_ANNOTATION in job.annotations):
            continue
        labels = namespaces.get(job.namespace)
        enforceable = not job.exempt and is_enforced_namespace(job.namespace, labels, exempt)
        suspendable = enforceable and not job.managed
        if enforceable and job.managed and job.opted_in and not job.suspended and job.uid not in queued:
            for budget in suspending.of(job, labels):
                if _reached(budget, job, now):
                    untouched.setdefault(budget.key, []).append(job)
        governing = suspending.of(job, labels) if suspendable and job.opted_in else []
        if job.marked:
            refusing = blocking.of(job, labels) if suspendable and job.suspended else []
            _decide_marked(decision, job, governing, refusing, reverted, now, jitter_s, here_since)
        else:
            _decide_unmarked(decision, job, [budget for budget in governing if budget.status_is_current], reverted, now)
    for key in reverted.keys() | untouched.keys():
        if key not in reverted:
            decision.managed.add(key)
        decision.conflicts[key] = _conflict_message(reverted.get(key, []), untouched.get(key, []))
    return decision


def _decide_unmarked(
    decision: EnforcementDecision, job: Job, governing: list[EnforcedBudget], reverted: dict[str, list[Job]], now: int
) -> None:
    """Decide about a Job without our label."""
    dues = [(due_at, budget) for budget in governing if (due_at := _due(budget, job, now)) is not None]
    announced = SUSPEND_AT_ANNOTATION in job.annotations
    if job.suspended or not dues:
        if announced:
            decision.actions.append(Withdraw(job))
        return
    resumed_at = _resumed_by_others(job)
    reached = [(due_at, budget) for due_at, budget in dues if due_at <= now]
    # A resumption before the Job's own time of suspension was not against it.
    applicable = [budget for due_at, budget in reached if resumed_at < due_at]
    if applicable:
        decision.actions.append(Suspend(job, applicable[0]))
        return
    if reached:  # our marks were removed with the resumption, as by `kubectl replace`
        for _, budget in reached:
            reverted.setdefault(budget.key, []).append(job)
        if announced:
            decision.actions.append(Withdraw(job))
        return
    due_at, budget = min(dues, key=lambda item: (item[0], item[1].key))
    decision.wake(due_at)
    if instant(job.annotations.get(SUSPEND_AT_ANNOTATION, "")) != due_at:
        decision.actions.append(Announce(job, budget, due_at))


def _due(budget: EnforcedBudget, job: Job, now: int) -> int | None:
    """When the budget suspends the running Job (UTC seconds); None if never.

    With per: Workload, suspendFrom is of the first Job that reached its limit. Each later Job has a grace of its own,
    counted from its announcement.
    """
    assert budget.suspend_from is not None
    if not budget.per_workload:
        return budget.suspend_from
    if not budget.over(job):
        return None
    announced_at = instant(job.annotations.get(SUSPEND_AT_ANNOTATION, ""))
    latest_at = now + budget.grace_s
    return max(announced_at if 0 < announced_at <= latest_at else latest_at, budget.suspend_from)


def _reached(budget: EnforcedBudget, job: Job, now: int) -> bool:
    """Whether the budget would suspend this running Job now if no other controller managed it."""
    assert budget.suspend_from is not None
    return budget.status_is_current and budget.suspend_from <= now and (not budget.per_workload or budget.over(job))


def _decide_marked(
    decision: EnforcementDecision,
    job: Job,
    governing: list[EnforcedBudget],
    refusing: list[EnforcedBudget],
    reverted: dict[str, list[Job]],
    now: int,
    jitter_s: int,
    here_since: int,
) -> None:
    """Decide about a Job with our label."""
    named = job.annotations.get(SUSPENDED_BY_ANNOTATION, "")
    # Kueue manages it since then and decides when it runs. Without the annotation the label is not ours: somebody else
    # suspended that Job, and we would start what the webhook refused them.
    if job.managed or not named:
        decision.actions.append(Unmark(job))
        return
    suspending = [budget for budget in governing if _keeps_suspended(budget, job, named, now)]
    if not job.suspended:
        if not suspending:
            decision.actions.append(Unmark(job))
        for budget in suspending:
            reverted.setdefault(budget.key, []).append(job)
        return
    resume_at = instant(job.annotations.get(RESUME_AT_ANNOTATION, ""))
    if keeping := suspending or refusing:
        if RESUME_AT_ANNOTATION in job.annotations or named not in {budget.display_name for budget in keeping}:
            decision.actions.append(Keep(job, keeping[0]))
        return
    # There is no plan, it is not ours, or its time passed while no controller ran.
    if not resume_at or not here_since <= resume_at <= now + jitter_s:
        resume_at = now + jitter(job.uid, jitter_s)
        if resume_at > now:
            decision.actions.append(Plan(job, resume_at))
    if resume_at <= now:
        decision.actions.append(Resume(job))
    else:
        decision.wake(resume_at)


def _keeps_suspended(budget: EnforcedBudget, job: Job, named: str, now: int) -> bool:
    """Whether the budget keeps a suspended Job suspended."""
    if budget.suspend_from is None or now < budget.suspend_from:
        return False
    return not budget.per_workload or budget.over(job) or (named == budget.display_name and budget.may_hide(job))


def _resumed_by_others(job: Job) -> int:
    """When somebody other than us resumed the Job (UTC seconds); 0 for never."""
    ours = instant(job.annotations.get(RESUMED_AT_ANNOTATION, ""))
    return 0 if ours and job.resumed_at <= ours + _ECHO_S else job.resumed_at


def jitter(uid: str, within_s: int) -> int:
    """Seconds in [0, within_s], always the same for a Job, so that a restart of the controller changes no plan."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big") % (within_s + 1)


def _conflict_message(reverted: list[Job], untouched: list[Job]) -> str:
    """The Jobs that others resumed, and those that others manage. The same Jobs always give the same message."""
    parts = []
    if reverted:
        parts.append(
            "suspended Jobs were resumed and are left running: "
            + _listed(reverted, lambda job: f"by {' and '.join(job.suspend_managers) or 'an unknown field manager'}")
        )
    if untouched:
        parts.append(
            "Jobs run on, because another controller decides when they run: "
            + _listed(untouched, lambda job: f"({job.manager})")
        )
    return "; ".join(parts)


def _listed(jobs: list[Job], detail: Callable[[Job], str]) -> str:
    first = sorted(jobs, key=lambda job: (job.namespace, job.name))[:_NAMED]
    rest = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
    return ", ".join(f"{job.namespace}/{job.name} {detail(job)}" for job in first) + rest
