"""Emissions of a finished Job: the question to the server, and the annotations and Event made of its answer.

No I/O and no clock; job_figure_writer.py sends and writes them. A figure is provisional until the Job's last hour is
over, since pods that start later in that hour share its idle energy and overhead. Then it is final.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from carbonbudget_operator.api.budget_query_bodies import Accounting, RunAnswer, RunQuery
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import (
    ACCOUNTING_ANNOTATION,
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
    DEFERRED_RESULT_ANNOTATION,
    DEFERRED_STARTED_ANNOTATION,
    EMISSIONS_ANNOTATION,
    ENERGY_ANNOTATION,
    FINAL_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    STATE_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
    TARGETS_ANNOTATION,
)
from carbonbudget_operator.budgets.quantity import format_energy, format_mass
from carbonbudget_operator.budgets.strictest import Candidate, strictest
from carbonbudget_operator.budgets.verdict import percent
from carbonbudget_operator.enforcement.deferral_record import record_of, stated_instant
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.job_fields import Job, instant
from carbonbudget_operator.enforcement.job_patches import EventText, Patch

_HOUR_S: Final = 3600
# Reports of a node that was cut off may still arrive after the Job's last hour. After this time none is expected.
_PATIENCE_S: Final = _HOUR_S

Stage = Literal["provisional", "final", "incomplete"]
"""`incomplete`: all reports stopped before the Job's last hour was over, and none has arrived for an hour."""


@dataclass(frozen=True, slots=True)
class LedgerProgress:
    """How far the ledger's data reach, as this controller has seen it. All three are UTC seconds."""

    now: int
    data_through: int
    """Up to when every node that still reports has reported."""
    unchanged_since: int
    """When this process first saw this `data_through`."""


def jobs_to_annotate(jobs: Iterable[Job]) -> list[Job]:
    """The finished Jobs without the annotation `final`, the one that finished first in front."""
    return sorted(
        (job for job in jobs if job.finished_at and FINAL_ANNOTATION not in job.annotations),
        key=lambda job: (job.finished_at, job.uid),
    )


def last_hour_end(job: Job) -> int:
    """The end of the hour in which a finished Job finished (UTC seconds).

    A Job that finished on the hour has the hour that begins there: `finished_at` is cut to seconds, so a part of the
    Job may lie in it.
    """
    return job.finished_at - job.finished_at % _HOUR_S + _HOUR_S


def run_query(job: Job, kept_from: int) -> RunQuery:
    """The question for what the Job's pods emitted, by the Job's uid.

    It starts at the Job's creation, since startTime changes when a Job is resumed, but not before `kept_from`: single
    pods of earlier hours are no longer in the ledger. It covers whole hours, as the ledger stores them; no other pod
    has a controller of that uid.
    """
    start = max(job.created_at, min(kept_from, job.finished_at))
    return RunQuery(
        id=job.uid,
        namespace=job.namespace,
        kind="Job",
        name=job.name,
        uid=job.uid,
        start=start - start % _HOUR_S,
        end=last_hour_end(job),
    )


def figure_stage(job: Job, progress: LedgerProgress) -> Stage:
    """Whether a figure of the Job is final now."""
    end = last_hour_end(job)
    if progress.data_through >= end:
        return "final"
    # The clock alone does not decide: after an absence of the server, nodes first send the reports that they stored.
    waited = progress.now >= end + _PATIENCE_S and progress.now - progress.unchanged_since >= _PATIENCE_S
    return "incomplete" if waited else "provisional"


def is_figure_due(job: Job, deleted: bool, progress: LedgerProgress) -> bool:
    """Whether the Job's figure can be written now and is not written yet.

    A Job that was deleted gets no second figure, so it does not wait for the end of its last hour.
    """
    stage = figure_stage(job, progress)
    if job.finished_at > progress.data_through and stage != "incomplete":
        return False
    return deleted or stage != "provisional" or not _has_provisional_figures(job, progress)


def _has_provisional_figures(job: Job, progress: LedgerProgress) -> bool:
    """Whether the Job's figures are of its end. Those that it had while it ran are of an earlier time.

    An instant in the future was not written by this controller.
    """
    return job.finished_at <= instant(job.annotations.get(AS_OF_ANNOTATION, "")) <= progress.now


def is_beyond_reporting(job: Job, progress: LedgerProgress) -> bool:
    """Whether no report of the Job is expected any more, so that a Job without one gets no figure."""
    patient = progress.data_through < last_hour_end(job) + _PATIENCE_S
    return not patient or figure_stage(job, progress) == "incomplete"


def job_figures(
    job: Job, answer: RunAnswer, governing: Iterable[EnforcedBudget], kept_from: int, progress: LedgerProgress
) -> tuple[Patch, EventText]:
    """The annotations of a finished Job, and the Event about it, by the server's answer.

    The strictest of the budgets that cover the Job (`governing`) is named, and its accounting decides which figure is
    given. The annotation `final` is absent while the figure is provisional. It is `partial`, and the Event says why,
    where the Job is older than `kept_from` or reports stopped before its last hour was over.
    """
    stage, whole = figure_stage(job, progress), job.created_at >= kept_from
    strictest_budget = _strictest((budget, _state_of_job(budget, job, answer)) for budget in governing)
    budget, own = strictest_budget if strictest_budget is not None else (None, None)
    market = budget is not None and budget.market
    emitted_ug = answer.market_ug if market else answer.location_ug
    annotations: dict[str, str | None] = {
        EMISSIONS_ANNOTATION: format_mass(emitted_ug),
        ENERGY_ANNOTATION: format_energy(answer.energy_uj),
        ACCOUNTING_ANNOTATION: accounting(market),
        AS_OF_ANNOTATION: format_time(progress.data_through),
        BUDGET_ANNOTATION: budget.display_name if budget is not None else None,
        STATE_ANNOTATION: own.state.value if budget is not None and own is not None and budget.state else None,
        SUSPEND_AT_ANNOTATION: None,
        TARGETS_ANNOTATION: None,  # nobody would follow the target's state any more
    }
    deferred = deferral_result(job, answer.location_ug)
    if deferred:
        annotations[DEFERRED_RESULT_ANNOTATION] = deferred
    if stage != "provisional":
        annotations[FINAL_ANNOTATION] = "true" if whole and stage == "final" else "partial"
    parts = [format_energy(answer.energy_uj), *_time_spent(job, answer.gpu_ms)]
    message = f"{job.name} emitted {format_mass(emitted_ug)} CO2e: {', '.join(parts)}"
    if answer.measured_percent < 100:
        message += f" ({answer.measured_percent} % measured, the rest modelled)"
    message += f"; {'market' if market else 'location'}-based, by reports up to {format_time(progress.data_through)}"
    if deferred:
        message += f"; deferred: {deferred}"
    if not whole:
        message += f"; only since {format_time(kept_from)}, because single pods of earlier hours are no longer stored"
    end = format_time(last_hour_end(job))
    if stage == "provisional":
        message += f"; the figure may change until the hour is over at {end}"
    elif stage == "incomplete":
        message += f"; the reports of the rest of the hour until {end} are missing"
    return {"metadata": {"annotations": annotations}}, EventText("Normal", "CarbonEmitted", message)


def deferral_result(job: Job, location_ug: int) -> str:
    """What a deferred Job was expected to emit, from its start and from when that was chosen, and what it emitted.

    Empty for any other Job. The figures are location-based, as the expected ones are.
    """
    started_at = stated_instant(job.annotations.get(DEFERRED_STARTED_ANNOTATION))
    if not started_at:
        return ""
    known, emitted = record_of(job), f"emitted {format_mass(location_ug)} CO2e"
    if known.expected and known.expected_at_once:
        return (
            f"expected {known.expected} at {format_time(started_at)}, would have been {known.expected_at_once} "
            f"at {format_time(known.at_once)}, {emitted}"
        )
    less = (
        f"expected {known.percent_less} % less than from {format_time(known.at_once)} on, "
        if known.percent_less
        else ""
    )
    return f"{less}{emitted}"


def _time_spent(job: Job, gpu_ms: int) -> list[str]:
    """For example "2.1 h on 4 GPUs". A Job that was suspended in between has GPU hours only, since it has no single
    duration."""
    duration_s = job.finished_at - job.started_at
    resumed_at = job.annotations.get(RESUMED_AT_ANNOTATION)
    is_resumed = resumed_at is not None and resumed_at != job.annotations.get(DEFERRED_STARTED_ANNOTATION)
    if is_resumed or not job.started_at or duration_s <= 0:
        if not gpu_ms:
            return []
        return [f"{gpu_ms / 3_600_000:.1f} GPU hours" if gpu_ms >= 360_000 else f"{gpu_ms / 1000:g} GPU seconds"]
    text = f"{duration_s / _HOUR_S:.1f} h" if duration_s >= 360 else f"{duration_s} s"
    gpus = max(1, (gpu_ms + duration_s * 500) // (duration_s * 1000)) if gpu_ms else 0
    return [text + (f" on {gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "")]


def _state_of_job(budget: EnforcedBudget, job: Job, answer: RunAnswer) -> Candidate:
    """The state of the Job in a budget: by the status where that names the Job, else by all that it emitted."""
    use = budget.use_of(job)
    if use is not None:
        return budget.state_of(use.percent, use.state)
    return budget.state_of(percent(answer.market_ug if budget.market else answer.location_ug, budget.limit_ug))


def _strictest(found: Iterable[tuple[EnforcedBudget, Candidate]]) -> tuple[EnforcedBudget, Candidate] | None:
    """The strictest budget, which is also the one that a refusal names; None if there is no budget."""
    by_key = {budget.key: (budget, candidate) for budget, candidate in found}
    first = strictest(candidate for _, candidate in by_key.values())
    return by_key[first.key] if first is not None else None


def accounting(market: bool) -> Accounting:
    """The value of the annotation `accounting`."""
    return "MarketBased" if market else "LocationBased"
