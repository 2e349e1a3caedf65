"""What a finished Job emitted, and how its workload's budget stands: questions, annotations, sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from carbonbudget_operator.api.names import (
    BUDGET_ANNOTATION,
    EMISSIONS_ANNOTATION,
    ENERGY_ANNOTATION,
    FINAL_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    STATE_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
)
from carbonbudget_operator.api.query import RunAnswer, RunQuery
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.enforcement.budgets import Budget, strictest_of
from carbonbudget_operator.enforcement.job import Job
from carbonbudget_operator.enforcement.patches import Note, Patch

_HOUR_S: Final = 3600
_UJ_PER_KWH: Final = 3_600_000_000_000
# Reports of a node that was cut off may still come; after this there is nothing to wait for.
_PATIENCE_S: Final = _HOUR_S
_KINDS: Final = {
    "Deployment": ApiPath("apps", "v1", "deployments"),
    "StatefulSet": ApiPath("apps", "v1", "statefulsets"),
    "DaemonSet": ApiPath("apps", "v1", "daemonsets"),
    "CronJob": ApiPath("batch", "v1", "cronjobs"),
    "Job": ApiPath("batch", "v1", "jobs"),
}

Key = tuple[str, str, str]
"""namespace, kind, name."""


def to_tell(jobs: Iterable[Job]) -> list[Job]:
    """Finished, and not told yet: the annotation says which are done. Oldest first."""
    return sorted(
        (job for job in jobs if job.finished_at and FINAL_ANNOTATION not in job.annotations),
        key=lambda job: (job.finished_at, job.uid),
    )


def question(job: Job, kept_from: int) -> RunQuery:
    """What its pods emitted, by the Job's uid.

    From its creation, since startTime begins anew when it is resumed, but not from before `kept_from`, as no pods are
    known of former hours; to whole hours, as the ledger keeps them: no other pod has that controller's uid.
    """
    start = max(job.created_at, min(kept_from, job.finished_at))
    return RunQuery(
        id=job.uid,
        namespace=job.namespace,
        kind="Job",
        name=job.name,
        uid=job.uid,
        start=start - start % _HOUR_S,
        end=job.finished_at - job.finished_at % _HOUR_S + _HOUR_S,
    )


def hopeless(job: Job, data_through: int) -> bool:
    """Whether a Job of which nothing was reported is not waited for any longer."""
    return data_through >= job.finished_at + _PATIENCE_S


def final_figures(job: Job, answer: RunAnswer, budget: Budget | None, kept_from: int) -> tuple[Patch, Note]:
    """The annotations and the Event; `budget` is the strictest that governs it, and decides the accounting.

    A Job that is older than `kept_from` emitted more than can be told of it, and that is said.
    """
    whole = job.created_at >= kept_from
    emitted_ug = answer.market_ug if budget is not None and budget.market else answer.location_ug
    annotations: dict[str, str | None] = {
        EMISSIONS_ANNOTATION: format_mass(emitted_ug),
        ENERGY_ANNOTATION: energy_text(answer.energy_uj),
        BUDGET_ANNOTATION: budget.shown if budget is not None else None,
        STATE_ANNOTATION: (budget.state or None) if budget is not None else None,
        FINAL_ANNOTATION: "true" if whole else "partial",
        SUSPEND_AT_ANNOTATION: None,
    }
    parts = [energy_text(answer.energy_uj), *_time_spent(job, answer.gpu_ms)]
    message = f"{job.name} emitted {format_mass(emitted_ug)} CO2e: {', '.join(parts)}"
    if answer.measured_percent < 100:
        message += f" ({answer.measured_percent} % measured, the rest modelled)"
    if not whole:
        message += f"; only since {format_time(kept_from)}, no pods are kept of the time before"
    return {"metadata": {"annotations": annotations}}, Note("Normal", "CarbonEmitted", message)


def _time_spent(job: Job, gpu_ms: int) -> list[str]:
    """ "2.1 h on 4 GPUs". What was suspended in between has no single duration: then only GPU hours, if any."""
    duration_s = job.finished_at - job.started_at
    if RESUMED_AT_ANNOTATION in job.annotations or not job.started_at or duration_s <= 0:
        return [f"{gpu_ms / 3_600_000:.1f} GPU hours"] if gpu_ms else []
    text = f"{duration_s / _HOUR_S:.1f} h" if duration_s >= 360 else f"{duration_s} s"
    gpus = max(1, (gpu_ms + duration_s * 500) // (duration_s * 1000)) if gpu_ms else 0
    return [text + (f" on {gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "")]


def energy_text(energy_uj: int) -> str:
    """ "0.78 kWh", "3.20 Wh" or "12 J", rounded down."""
    for unit, uj in (("kWh", _UJ_PER_KWH), ("Wh", _UJ_PER_KWH // 1000)):
        hundredths = energy_uj * 100 // uj
        if hundredths:
            return f"{hundredths // 100}.{hundredths % 100:02d} {unit}"
    return f"{energy_uj // 1_000_000} J"


def workload_annotations(budgets: Iterable[Budget]) -> dict[Key, dict[str, str | None]]:
    """What each workload that a status names should say: its strictest budget, that one's state, its emissions."""
    named: dict[Key, list[tuple[Budget, str]]] = {}
    for budget in budgets:
        for use in budget.top:
            if use.kind in _KINDS and budget.state:
                named.setdefault((use.namespace, use.kind, use.name), []).append((budget, use.emissions))
    wanted: dict[Key, dict[str, str | None]] = {}
    for key, found in named.items():
        chosen = strictest_of(budget for budget, _ in found)
        assert chosen is not None
        emissions = next(text for budget, text in found if budget is chosen)
        wanted[key] = {
            EMISSIONS_ANNOTATION: emissions,
            BUDGET_ANNOTATION: chosen.shown,
            STATE_ANNOTATION: chosen.state,
        }
    return wanted


def standing(annotations: Mapping[str, str | None]) -> tuple[str | None, str | None]:
    """What a change of is a reason to write: the budget and its state, never the figure alone."""
    return annotations.get(BUDGET_ANNOTATION), annotations.get(STATE_ANNOTATION)


def workload_path(key: Key) -> ApiPath:
    """Where it is. Its name is what a report says: whether an object can be called so, the path knows."""
    namespace, kind, name = key
    return _KINDS[kind].at(namespace, name)
