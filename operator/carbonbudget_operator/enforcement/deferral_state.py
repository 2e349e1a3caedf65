"""What one Job shows of its deferral: whether it waits, why it is declined, its chosen and its latest start.

No I/O and no clock.
"""

from __future__ import annotations

from carbonbudget_operator.api.wire_names import (
    DEFERRED_START_ANNOTATION,
    DEFERRED_STARTED_ANNOTATION,
    EXPECTED_DURATION_ANNOTATION,
    FINISH_BY_ANNOTATION,
)
from carbonbudget_operator.budgets.workload_demand import duration_s
from carbonbudget_operator.enforcement.deferral_record import stated_instant
from carbonbudget_operator.enforcement.deferral_wish import DeferralWish
from carbonbudget_operator.enforcement.job_fields import Job


def is_deferred(job: Job) -> bool:
    """Whether it is suspended and waits for its start, which somebody has to give it."""
    waits = job.wish is not None and job.suspended and not job.managed and not job.marked and not job.finished_at
    if not waits or DEFERRED_STARTED_ANNOTATION in job.annotations:
        return False
    return bool(chosen_start(job)) or not declined(job)


def latest_start(job: Job) -> int:
    """The latest start that still ends by the deadline (UTC seconds); with broken annotations the chosen one."""
    if job.wish is None or wish_defect(job.wish):
        return chosen_start(job)
    return stated_instant(job.wish.finish_by) - stated_duration_s(job)


def declined(job: Job, enabled: bool = True) -> str:
    """Why its owner's wish is not met; empty where its start is or can be chosen, and where there is no wish.

    Empty also for a Job that runs as its owner wanted. `enabled`: the setting enforcement.deferral.
    """
    wish = job.wish
    if wish is None or chosen_start(job) or not (job.suspended or wish.unchanged):
        return ""
    if job.managed:
        return f"{job.manager} decides when it runs, so its start is not deferred"
    if not job.suspended or not wish.unchanged:
        what = "it is started by its owner" if job.suspended else "it runs already"
        return f"it was not created with spec.suspend: true, so its start is not deferred: {what}"
    if defect := wish_defect(wish):
        return f"{defect}; until then it stays suspended"
    if not enabled:
        return "deferral is switched off in this cluster (enforcement.deferral): start it by spec.suspend: false"
    return ""


def wish_defect(wish: DeferralWish) -> str:
    """What is wrong with the annotations; empty where they can be read."""
    if not stated_instant(wish.finish_by):
        stated = f'is "{wish.finish_by}", which is no instant' if wish.finish_by else "is missing"
        return f"its annotation {FINISH_BY_ANNOTATION} {stated}: write e.g. 2026-12-01T08:00:00Z"
    if not duration_s(wish.duration):
        what = "no duration" if duration_s(wish.duration) is None else "zero"
        stated = f'is "{wish.duration}", which is {what}' if wish.duration else "is missing"
        return f"its annotation {EXPECTED_DURATION_ANNOTATION} {stated}: write e.g. 2h30m"
    return ""


def chosen_start(job: Job) -> int:
    """The chosen start; 0 without one that can be read."""
    return stated_instant(job.annotations.get(DEFERRED_START_ANNOTATION))


def stated_duration_s(job: Job) -> int:
    """The expected duration that its owner stated; 0 without one that can be read."""
    return (duration_s(job.wish.duration) if job.wish is not None else None) or 0
