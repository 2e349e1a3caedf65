"""Decides which Jobs to suspend and to resume, from the statuses of budgets, the Jobs and the time.

No I/O and no clock, and nothing is remembered: everything is in the objects. So a controller that was away decides
like one that was not, and a decision can be repeated without effect. The rules, each with a property test:

- A Job is not suspended if it did not opt in, is exempt, is managed by another controller or is in an exempt namespace.
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
from typing import Final

from carbonbudget_operator.api.wire_names import (
    RESUME_AT_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
    SUSPENDED_BY_ANNOTATION,
)
from carbonbudget_operator.enforcement.enforced_budgets import BudgetsByNamespace, EnforcedBudget, is_enforced_namespace
from carbonbudget_operator.enforcement.job_fields import Job, instant
from carbonbudget_operator.enforcement.suspension_actions import (
    Announce,
    Keep,
    Plan,
    Resume,
    Suspend,
    SuspensionAction,
    SuspensionDecision,
    Unmark,
    Withdraw,
)

Labels = Mapping[str, Mapping[str, str]]
# Longest time between our patch and the Job controller's record of the resumption.
_ECHO_S: Final = 120
_NAMED = 3


def decide_suspensions(
    budgets: Iterable[EnforcedBudget],
    jobs: Iterable[Job],
    namespaces: Labels,
    now: int,
    jitter_s: int,
    enforced: bool,
    exempt: frozenset[str],
    here_since: int = 0,
) -> SuspensionDecision:
    """Decide about all Jobs at `now` (UTC seconds).

    `namespaces`: their labels, as far as known. `enforced`: whether the cluster's mode is Enforce; otherwise nothing is
    suspended and suspended Jobs are resumed. `exempt`: namespaces in which budgets do not act. `here_since`: when this
    process first decided; resumptions that were planned for an earlier time are planned again. `jitter_s`: within how
    many seconds resumptions are spread.
    """
    budgets, jobs = list(budgets) if enforced else [], list(jobs)
    suspending = BudgetsByNamespace(budget for budget in budgets if budget.suspends(now))
    blocking = BudgetsByNamespace(budget for budget in budgets if budget.blocks_jobs(now))
    queued = {job.uid for job in jobs if job.queued is not None}
    decider = _Decider(now, jitter_s, here_since)
    for job in jobs:
        if job.finished_at or not (job.opted_in or job.marked or SUSPEND_AT_ANNOTATION in job.annotations):
            continue
        labels = namespaces.get(job.namespace)
        enforceable = not job.exempt and is_enforced_namespace(job.namespace, labels, exempt)
        governing = suspending.of(job, labels) if enforceable and job.opted_in else []
        if job.managed:
            if not job.suspended and job.uid not in queued:
                decider.report_managed(job, governing)
            governing = []
        if job.marked:
            refusing = blocking.of(job, labels) if enforceable and not job.managed and job.suspended else []
            decider.decide_marked(job, governing, refusing)
        else:
            decider.decide_unmarked(job, [budget for budget in governing if budget.status_is_current])
    return decider.decision()


class _Decider:
    """One decision while it is made, Job by Job. `governing` are the budgets that suspend a Job now or after grace."""

    def __init__(self, now: int, jitter_s: int, here_since: int) -> None:
        self._now, self._jitter_s, self._here_since = now, jitter_s, here_since
        self._actions: list[SuspensionAction] = []
        self._wake_at = 0
        # By the budget's key.
        self._resumed_by_others: dict[str, list[Job]] = {}
        self._managed_by_others: dict[str, list[Job]] = {}

    def decision(self) -> SuspensionDecision:
        """The result, once all Jobs are decided about."""
        resumed, managed = self._resumed_by_others, self._managed_by_others
        return SuspensionDecision(
            self._actions,
            {key: _conflict_message(resumed.get(key, []), managed.get(key, [])) for key in resumed.keys() | managed},
            managed.keys() - resumed.keys(),
            self._wake_at,
        )

    def report_managed(self, job: Job, governing: Iterable[EnforcedBudget]) -> None:
        """Report a running Job that another controller manages to the budgets that would suspend it."""
        for budget in governing:
            if _reached(budget, job, self._now):
                self._managed_by_others.setdefault(budget.key, []).append(job)

    def decide_unmarked(self, job: Job, governing: list[EnforcedBudget]) -> None:
        """Decide about a Job without our label."""
        dues = [(due_at, budget) for budget in governing if (due_at := _due(budget, job, self._now)) is not None]
        announced = SUSPEND_AT_ANNOTATION in job.annotations
        if job.suspended or not dues:
            if announced:
                self._actions.append(Withdraw(job))
            return
        resumed_at = _resumed_by_others(job)
        reached = [(due_at, budget) for due_at, budget in dues if due_at <= self._now]
        # A resumption before the Job's own time of suspension was not against it.
        applicable = [budget for due_at, budget in reached if resumed_at < due_at]
        if applicable:
            self._actions.append(Suspend(job, applicable[0]))
            return
        if reached:  # our marks were removed with the resumption, as by `kubectl replace`
            self._report_resumed(job, (budget for _, budget in reached))
            if announced:
                self._actions.append(Withdraw(job))
            return
        due_at, budget = min(dues, key=lambda item: (item[0], item[1].key))
        self._wake(due_at)
        if instant(job.annotations.get(SUSPEND_AT_ANNOTATION, "")) != due_at:
            self._actions.append(Announce(job, budget, due_at))

    def decide_marked(self, job: Job, governing: list[EnforcedBudget], refusing: list[EnforcedBudget]) -> None:
        """Decide about a Job with our label. `refusing` are the budgets that refuse new Jobs like it."""
        by = job.annotations.get(SUSPENDED_BY_ANNOTATION, "")
        # Kueue manages it since then and decides when it runs. Without the annotation the label is not ours: somebody
        # else suspended that Job, and we would start what the webhook refused them.
        if job.managed or not by:
            self._actions.append(Unmark(job))
            return
        suspending = [budget for budget in governing if _keeps_suspended(budget, job, by, self._now)]
        if not job.suspended:
            if not suspending:
                self._actions.append(Unmark(job))
            self._report_resumed(job, suspending)
            return
        if keeping := suspending or refusing:
            if RESUME_AT_ANNOTATION in job.annotations or by not in {budget.display_name for budget in keeping}:
                self._actions.append(Keep(job, keeping[0]))
            return
        self._decide_resumption(job)

    def _decide_resumption(self, job: Job) -> None:
        """Plan the resumption of a Job that no budget keeps suspended, or resume it."""
        resume_at = instant(job.annotations.get(RESUME_AT_ANNOTATION, ""))
        # There is no plan, it is not ours, or its time passed while no controller ran.
        if not resume_at or not self._here_since <= resume_at <= self._now + self._jitter_s:
            resume_at = self._now + jitter(job.uid, self._jitter_s)
            if resume_at > self._now:
                self._actions.append(Plan(job, resume_at))
        if resume_at <= self._now:
            self._actions.append(Resume(job))
        else:
            self._wake(resume_at)

    def _report_resumed(self, job: Job, suspending: Iterable[EnforcedBudget]) -> None:
        """Report a Job that others resumed to the budgets that would suspend it."""
        for budget in suspending:
            self._resumed_by_others.setdefault(budget.key, []).append(job)

    def _wake(self, at: int) -> None:
        """Decide again at `at` (UTC seconds) at the latest."""
        self._wake_at = min(self._wake_at or at, at)


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


def _conflict_message(resumed: list[Job], managed: list[Job]) -> str:
    """The Jobs that others resumed, and those that others manage. The same Jobs always give the same message."""
    parts = []
    if resumed:
        parts.append(
            "suspended Jobs were resumed and are left running: "
            + _listed(resumed, lambda job: f"by {' and '.join(job.suspend_managers) or 'an unknown field manager'}")
        )
    if managed:
        parts.append(
            "Jobs run on, because another controller decides when they run: "
            + _listed(managed, lambda job: f"({job.manager})")
        )
    return "; ".join(parts)


def _listed(jobs: list[Job], detail: Callable[[Job], str]) -> str:
    first = sorted(jobs, key=lambda job: (job.namespace, job.name))[:_NAMED]
    rest = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
    return ", ".join(f"{job.namespace}/{job.name} {detail(job)}" for job in first) + rest
