"""What a decision about suspending and resuming Jobs results in. No I/O and no clock."""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.job_fields import Job


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


SuspensionAction = Announce | Withdraw | Suspend | Keep | Plan | Resume | Unmark


@dataclass(frozen=True, slots=True)
class SuspensionDecision:
    """The actions to carry out now, and the conflicts to report."""

    actions: list[SuspensionAction]
    conflicts: dict[str, str]
    """The message of the condition EnforcementConflict, by the budget's key."""
    managed: set[str]
    """The keys of `conflicts` where no Job was resumed by others: another controller decides when the Jobs run."""
    wake_at: int
    """When to decide again at the latest (UTC seconds); 0 for no need."""
