"""Converts a decision about suspending a Job to the merge patch and the Event for it. No I/O and no clock."""

from __future__ import annotations

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import (
    RESUME_AT_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
    SUSPENDABLE_LABEL,
    SUSPENDED_BY_ANNOTATION,
    SUSPENDED_LABEL,
)
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.job_fields import Job
from carbonbudget_operator.enforcement.job_patches import EventText, Patch, job_patch
from carbonbudget_operator.enforcement.suspension_actions import (
    Announce,
    Keep,
    Plan,
    Resume,
    Suspend,
    SuspensionAction,
    Unmark,
    Withdraw,
)


def patch_of_suspension(action: SuspensionAction, now: int) -> tuple[Patch, EventText | None]:
    """The merge patch of the Job, and the Event for its owner, if there is one. `now`: UTC seconds."""
    name = action.job.name
    match action:
        case Announce(_, budget, at):
            event = EventText(
                "Warning",
                "SuspendAnnounced",
                f"{name} will be suspended at {format_time(at)}: {_why(action.job, budget)}. "
                f"Write a checkpoint, or remove the label {SUSPENDABLE_LABEL} to keep it running",
            )
            return job_patch({SUSPEND_AT_ANNOTATION: format_time(at)}), event
        case Withdraw():
            return job_patch({SUSPEND_AT_ANNOTATION: None}), None
        case Suspend(_, budget):
            marks = {
                SUSPENDED_BY_ANNOTATION: budget.display_name,
                SUSPEND_AT_ANNOTATION: None,
                RESUME_AT_ANNOTATION: None,
                RESUMED_AT_ANNOTATION: None,
            }
            event = EventText(
                "Warning",
                "SuspendedByCarbonBudget",
                f"{name} is suspended: {_why(action.job, budget)}. It is resumed "
                f"{_at(budget.ends)}once the budget's limit is raised",
            )
            return job_patch(marks, {SUSPENDED_LABEL: "true"}, suspend=True), event
        case Keep(_, budget):
            return job_patch({SUSPENDED_BY_ANNOTATION: budget.display_name, RESUME_AT_ANNOTATION: None}), None
        case Plan(_, at):
            return job_patch({RESUME_AT_ANNOTATION: format_time(at)}), None
        case Resume():
            by = action.job.annotations.get(SUSPENDED_BY_ANNOTATION, "") or "its carbon budget"
            event = EventText("Normal", "ResumedByCarbonBudget", f"{name} is resumed: {by} no longer suspends it")
            return release_patch(now, resumes=True), event
        case Unmark():
            return release_patch(now, resumes=False), None


def _why(job: Job, budget: EnforcedBudget) -> str:
    """Which limit was reached: the budget's by all that it covers, or with per: Workload the Job's own."""
    use = budget.use_of(job) if budget.per_workload else None
    if use is None:
        return f"carbon budget {budget.display_name} has reached Suspend"
    basis = "market" if budget.market else "location"
    as_of = f", as of {format_time(budget.as_of)}" if budget.as_of else ""
    return (
        f"it used {use.emissions} CO2e, {use.percent} % of what carbon budget {budget.display_name} "
        f"allows each workload ({basis}-based{as_of})"
    )


def _at(ends: int) -> str:
    """The end of the period (UTC seconds) as a part of a sentence; empty where it is 0, which is not known."""
    return f"at {format_time(ends)}, or " if ends else ""


def release_patch(now: int, resumes: bool) -> Patch:
    """The patch that removes our labels and annotations. With `resumes` it also resumes the Job and records when."""
    if not resumes:
        return job_patch(_MARKS, {SUSPENDED_LABEL: None})
    return job_patch(_MARKS | {RESUMED_AT_ANNOTATION: format_time(now)}, {SUSPENDED_LABEL: None}, suspend=False)


_MARKS: dict[str, str | None] = {
    SUSPENDED_BY_ANNOTATION: None,
    SUSPEND_AT_ANNOTATION: None,
    RESUME_AT_ANNOTATION: None,
}
