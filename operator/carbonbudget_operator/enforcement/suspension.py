"""Which Jobs to suspend and to resume: budgets' statuses, the Jobs, the time, to actions.

No I/O and no clock here, and nothing is remembered: all that counts is in the objects, so that a controller that was
away decides as one that was not, and deciding twice does the same once. Its laws, each with a property test:

- never a Job that did not opt in, is exempt, is managed by Kueue or another controller, or in a namespace that is not
  judged (Kueue's Jobs may come once more as their Workloads have them, and are then decided about as any other)
- never before its budget's status.enforcement.suspendFrom, never after its until
- only what we suspended is resumed: what carries our label and our annotation; and never while a budget still
  suspends it or refuses new Jobs like it
- what somebody else resumed is not suspended again, and what somebody else manages is not suspended: it is reported
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
# Between our patch and the Job controller's own note that the Job goes on.
_ECHO_S: Final = 120
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Announce:
    """Grace runs: the Job will be suspended at `at`."""

    job: Job
    budget: EnforcedBudget
    at: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """It will not."""

    job: Job


@dataclass(frozen=True, slots=True)
class Suspend:
    """Now."""

    job: Job
    budget: EnforcedBudget


@dataclass(frozen=True, slots=True)
class Keep:
    """It stays suspended, by this budget: another one than before, or a resumption was planned already.

    By one that suspends it, else by one that refuses new Jobs like it.
    """

    job: Job
    budget: EnforcedBudget


@dataclass(frozen=True, slots=True)
class Plan:
    """No budget suspends it any more: it is resumed at `at`."""

    job: Job
    at: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Now."""

    job: Job


@dataclass(frozen=True, slots=True)
class Unmark:
    """It runs already, or its suspension is somebody else's: only our own marks go."""

    job: Job


Action = Announce | Withdraw | Suspend | Keep | Plan | Resume | Unmark


@dataclass(slots=True)
class EnforcementDecision:
    """What to do now, what to say in budgets' EnforcementConflict (by key), and when to look again (0: no need)."""

    actions: list[Action] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    managed: set[str] = field(default_factory=set)
    """Those of `conflicts` in which nobody reverts anything: another controller decides when the Jobs run."""
    wake_at: int = 0

    def wake(self, at: int) -> None:
        """Look again at `at`, unless earlier anyway."""
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
    """All Jobs at `now` (UTC seconds).

    `namespaces`: their labels, as far as known. `enforced`: whether the cluster's mode is Enforce; otherwise
    nothing suspends and what is suspended is resumed. `exempt`: namespaces that are never judged. `here_since`: when
    this process first decided; resumptions that were planned for an earlier time are spread anew.
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
        ours = not job.exempt and is_enforced_namespace(job.namespace, labels, exempt)
        touched = ours and not job.managed
        if ours and job.managed and job.opted_in and not job.suspended and job.uid not in queued:
            for budget in suspending.of(job, labels):
                if _reached(budget, job, now):
                    untouched.setdefault(budget.key, []).append(job)
        mine = suspending.of(job, labels) if touched and job.opted_in else []
        if job.marked:
            refusing = blocking.of(job, labels) if touched and job.suspended else []
            _marked(decision, job, mine, refusing, reverted, now, jitter_s, here_since)
        else:
            _unmarked(decision, job, [budget for budget in mine if budget.settled], reverted, now)
    for key in reverted.keys() | untouched.keys():
        if key not in reverted:
            decision.managed.add(key)
        decision.conflicts[key] = _sentence(reverted.get(key, []), untouched.get(key, []))
    return decision


def _unmarked(
    decision: EnforcementDecision, job: Job, mine: list[EnforcedBudget], reverted: dict[str, list[Job]], now: int
) -> None:
    """One that we have not suspended."""
    dues = [(due_at, budget) for budget in mine if (due_at := _due(budget, job, now)) is not None]
    announced = SUSPEND_AT_ANNOTATION in job.annotations
    if job.suspended or not dues:
        if announced:
            decision.actions.append(Withdraw(job))
        return
    resumed_at = _resumed_by_others(job)
    reached = [(due_at, budget) for due_at, budget in dues if due_at <= now]
    # By this Job's own time: who was resumed before it was not resumed against us.
    fresh = [budget for due_at, budget in reached if resumed_at < due_at]
    if fresh:
        decision.actions.append(Suspend(job, fresh[0]))
        return
    if reached:  # their marks went with it, as with `kubectl replace`
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
    """When the budget suspends the running Job; None if never.

    A per: Workload budget's suspendFrom is of the first Job that reached its limit. Each later one has grace of its
    own, counted from its announcement.
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
    """Whether the budget would suspend this running Job now, were it ours to suspend. It gets no announcement."""
    assert budget.suspend_from is not None
    return budget.settled and budget.suspend_from <= now and (not budget.per_workload or budget.over(job))


def _marked(
    decision: EnforcementDecision,
    job: Job,
    mine: list[EnforcedBudget],
    refusing: list[EnforcedBudget],
    reverted: dict[str, list[Job]],
    now: int,
    jitter_s: int,
    here_since: int,
) -> None:
    """One that carries our label."""
    named = job.annotations.get(SUSPENDED_BY_ANNOTATION, "")
    # Kueue's since then: its queue decides when it runs. Without the annotation the label is not ours either: whoever
    # suspended that Job may resume it, and we would start what the webhook refused them.
    if job.managed or not named:
        decision.actions.append(Unmark(job))
        return
    holding = [budget for budget in mine if _still(budget, job, named, now)]
    if not job.suspended:
        if not holding:
            decision.actions.append(Unmark(job))
        for budget in holding:
            reverted.setdefault(budget.key, []).append(job)
        return
    resume_at = instant(job.annotations.get(RESUME_AT_ANNOTATION, ""))
    if keeping := holding or refusing:
        if RESUME_AT_ANNOTATION in job.annotations or named not in {budget.shown for budget in keeping}:
            decision.actions.append(Keep(job, keeping[0]))
        return
    # None, not ours, or of a time when nobody was there.
    if not resume_at or not here_since <= resume_at <= now + jitter_s:
        resume_at = now + jitter(job.uid, jitter_s)
        if resume_at > now:
            decision.actions.append(Plan(job, resume_at))
    if resume_at <= now:
        decision.actions.append(Resume(job))
    else:
        decision.wake(resume_at)


def _still(budget: EnforcedBudget, job: Job, named: str, now: int) -> bool:
    """Whether the budget keeps a suspended Job suspended."""
    if budget.suspend_from is None or now < budget.suspend_from:
        return False
    return not budget.per_workload or budget.over(job) or (named == budget.shown and budget.may_hide(job))


def _resumed_by_others(job: Job) -> int:
    """When somebody else than us resumed it; 0 for never."""
    ours = instant(job.annotations.get(RESUMED_AT_ANNOTATION, ""))
    return 0 if ours and job.resumed_at <= ours + _ECHO_S else job.resumed_at


def jitter(uid: str, within_s: int) -> int:
    """Seconds in [0, within_s], the same for a Job each time, so that a restart of the controller moves nothing."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big") % (within_s + 1)


def _sentence(reverted: list[Job], untouched: list[Job]) -> str:
    """Who resumed what, and what is somebody else's to suspend, for people; the same jobs always give the same."""
    said = []
    if reverted:
        said.append(
            "suspended Jobs were resumed and are left running: "
            + _listed(reverted, lambda job: f"by {' and '.join(job.suspend_managers) or 'an unknown field manager'}")
        )
    if untouched:
        said.append(
            "Jobs run on, because another controller decides when they run: "
            + _listed(untouched, lambda job: f"({job.manager})")
        )
    return "; ".join(said)


def _listed(jobs: list[Job], more: Callable[[Job], str]) -> str:
    first = sorted(jobs, key=lambda job: (job.namespace, job.name))[:_NAMED]
    rest = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
    return ", ".join(f"{job.namespace}/{job.name} {more(job)}" for job in first) + rest
