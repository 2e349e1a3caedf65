"""Converts a decision about a deferred Job to the merge patch and the Event for it. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import (
    DEFERRED_FORECAST_ANNOTATION,
    DEFERRED_HELD_BY_ANNOTATION,
    DEFERRED_START_ANNOTATION,
    DEFERRED_STARTED_ANNOTATION,
    RESUMED_AT_ANNOTATION,
)
from carbonbudget_operator.enforcement.deferral_actions import (
    ChooseStart,
    DeclineDeferral,
    DeferralAction,
    HoldStart,
    LeaveJob,
    SpreadStart,
    StartJob,
)
from carbonbudget_operator.enforcement.deferral_record import record_of
from carbonbudget_operator.enforcement.deferral_state import latest_start
from carbonbudget_operator.enforcement.job_fields import Job
from carbonbudget_operator.enforcement.job_patches import EventText, Patch, job_patch

_NOTHING_CHOSEN: Final[Mapping[str, str | None]] = {
    DEFERRED_START_ANNOTATION: None,
    DEFERRED_FORECAST_ANNOTATION: None,
    DEFERRED_HELD_BY_ANNOTATION: None,
}


def patch_of_deferral(action: DeferralAction, now: int) -> tuple[Patch | None, EventText | None]:
    """The patch of the Job and the Event for its owner, None where there is none. `now`: UTC seconds."""
    name = action.job.name
    match action:
        case ChooseStart():
            marks: dict[str, str | None] = {
                DEFERRED_START_ANNOTATION: format_time(action.start),
                DEFERRED_FORECAST_ANNOTATION: action.record.text(),
            }
            return job_patch(marks), _chosen(action, now)
        case SpreadStart(_, at):
            return job_patch({DEFERRED_START_ANNOTATION: format_time(at), DEFERRED_HELD_BY_ANNOTATION: None}), None
        case HoldStart(job, budget):
            late = "" if now <= latest_start(job) else ", although it can no longer end by its deadline"
            event = EventText(
                "Warning",
                "DeferredStartHeld",
                f"{name} is not started: carbon budget {budget.display_name} refuses new Jobs{late}. "
                "It is tried again each minute",
            )
            return job_patch({DEFERRED_HELD_BY_ANNOTATION: budget.display_name}), event
        case StartJob(job):
            return start_patch(now), EventText("Normal", "DeferredJobStarted", _started(job))
        case LeaveJob():
            return job_patch(_NOTHING_CHOSEN), None
        case DeclineDeferral(_, sentence):
            return None, EventText("Warning", "NotDeferred", f"{name}: {sentence}")


def start_patch(now: int) -> Patch:
    """The patch that starts a deferred Job; what was expected stays written on it until it has ended.

    `resumed-at` says that it was carbonbudget that resumed it: otherwise no budget would suspend it later.
    """
    marks: dict[str, str | None] = {
        DEFERRED_STARTED_ANNOTATION: format_time(now),
        DEFERRED_HELD_BY_ANNOTATION: None,
        RESUMED_AT_ANNOTATION: format_time(now),
    }
    return job_patch(marks, suspend=False)


def early_start_patch(now: int) -> Patch:
    """The patch that starts a Job that waits and removes what was written on it: nothing came of the forecast."""
    return job_patch({**_NOTHING_CHOSEN, RESUMED_AT_ANNOTATION: format_time(now)}, suspend=False)


def _chosen(action: ChooseStart, now: int) -> EventText:
    job, choice, record = action.job, action.choice, action.record
    deadline, start = format_time(action.deadline), format_time(action.start)
    reason = "DeferredStartChanged" if action.again else "StartDeferred"
    if latest_start(job) < now:
        lasts = job.wish.duration if job.wish else ""
        return EventText(
            "Warning",
            reason,
            f"{job.name} is started at {start}: as it lasts {lasts}, it can no longer end by {deadline}",
        )
    if choice is None:
        return EventText(
            "Warning", reason, f"{job.name} is started at {start}: no forecast of the grid's intensity is known"
        )
    known = f": {record.comparison}" if record.comparison else ""
    return EventText(
        "Normal",
        reason,
        f"{job.name} starts at {start}{known} (forecast of {record.zones} as of {format_time(record.made_at)}; "
        f"latest start {format_time(action.deadline - action.duration_s)} to end by {deadline})",
    )


def _started(job: Job) -> str:
    known = record_of(job).comparison
    return f"{job.name} is started" + (f": {known}" if known else "")
