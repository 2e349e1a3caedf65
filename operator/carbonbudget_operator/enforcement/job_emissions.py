"""What a finished Job emitted, and how its workload's budget stands: questions, annotations, sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from carbonbudget_operator.api.query_bodies import Accounting, RunAnswer, RunQuery
from carbonbudget_operator.api.resource_names import (
    ACCOUNTING_ANNOTATION,
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
    EMISSIONS_ANNOTATION,
    ENERGY_ANNOTATION,
    FINAL_ANNOTATION,
    RESUMED_AT_ANNOTATION,
    STATE_ANNOTATION,
    SUSPEND_AT_ANNOTATION,
)
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.evaluate import percent
from carbonbudget_operator.budgets.quantity import format_energy, format_mass
from carbonbudget_operator.budgets.strictest import Candidate, strictest
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget, WorkloadShareOfBudget
from carbonbudget_operator.enforcement.job import Job
from carbonbudget_operator.enforcement.patches import EventText, Patch

_HOUR_S: Final = 3600
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


def jobs_to_annotate(jobs: Iterable[Job]) -> list[Job]:
    """Finished, and not told yet: the annotation says which are done. Oldest first."""
    return sorted(
        (job for job in jobs if job.finished_at and FINAL_ANNOTATION not in job.annotations),
        key=lambda job: (job.finished_at, job.uid),
    )


def run_query(job: Job, kept_from: int) -> RunQuery:
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


def is_beyond_reporting(job: Job, data_through: int) -> bool:
    """Whether a Job of which nothing was reported is not waited for any longer."""
    return data_through >= job.finished_at + _PATIENCE_S


def final_figures(
    job: Job, answer: RunAnswer, governing: Iterable[EnforcedBudget], kept_from: int, data_through: int
) -> tuple[Patch, EventText]:
    """The annotations and the Event; of the budgets that govern it the strictest is named, and decides the accounting.

    A Job that is older than `kept_from` emitted more than can be told of it, and that is said. `data_through`: up to
    when the answer had data (UTC seconds).
    """
    whole = job.created_at >= kept_from
    found = _strictest((budget, _own_standing(budget, job, answer)) for budget in governing)
    budget, own = found if found is not None else (None, None)
    market = budget is not None and budget.market
    emitted_ug = answer.market_ug if market else answer.location_ug
    annotations: dict[str, str | None] = {
        EMISSIONS_ANNOTATION: format_mass(emitted_ug),
        ENERGY_ANNOTATION: format_energy(answer.energy_uj),
        ACCOUNTING_ANNOTATION: _accounting(market),
        AS_OF_ANNOTATION: format_time(data_through),
        BUDGET_ANNOTATION: budget.shown if budget is not None else None,
        STATE_ANNOTATION: own.state.value if budget is not None and own is not None and budget.state else None,
        FINAL_ANNOTATION: "true" if whole else "partial",
        SUSPEND_AT_ANNOTATION: None,
    }
    parts = [format_energy(answer.energy_uj), *_time_spent(job, answer.gpu_ms)]
    message = f"{job.name} emitted {format_mass(emitted_ug)} CO2e: {', '.join(parts)}"
    if answer.measured_percent < 100:
        message += f" ({answer.measured_percent} % measured, the rest modelled)"
    message += f"; {'market' if market else 'location'}-based, by reports up to {format_time(data_through)}"
    if not whole:
        message += f"; only since {format_time(kept_from)}, no pods are kept of the time before"
    return {"metadata": {"annotations": annotations}}, EventText("Normal", "CarbonEmitted", message)


def _time_spent(job: Job, gpu_ms: int) -> list[str]:
    """ "2.1 h on 4 GPUs". What was suspended in between has no single duration: then only GPU hours, if any."""
    duration_s = job.finished_at - job.started_at
    if RESUMED_AT_ANNOTATION in job.annotations or not job.started_at or duration_s <= 0:
        if not gpu_ms:
            return []
        return [f"{gpu_ms / 3_600_000:.1f} GPU hours" if gpu_ms >= 360_000 else f"{gpu_ms / 1000:g} GPU seconds"]
    text = f"{duration_s / _HOUR_S:.1f} h" if duration_s >= 360 else f"{duration_s} s"
    gpus = max(1, (gpu_ms + duration_s * 500) // (duration_s * 1000)) if gpu_ms else 0
    return [text + (f" on {gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "")]


def _own_standing(budget: EnforcedBudget, job: Job, answer: RunAnswer) -> Candidate:
    """How the Job stands in a budget: by the status where that names it, else by what it emitted in all."""
    use = budget.use_of(job)
    if use is not None:
        return budget.standing_of(use.percent, use.state)
    return budget.standing_of(percent(answer.market_ug if budget.market else answer.location_ug, budget.limit_ug))


def _strictest(found: Iterable[tuple[EnforcedBudget, Candidate]]) -> tuple[EnforcedBudget, Candidate] | None:
    """The one that a person should be told of, the same that a refusal names; None of none."""
    by_key = {budget.key: (budget, candidate) for budget, candidate in found}
    first = strictest(candidate for _, candidate in by_key.values())
    return by_key[first.key] if first is not None else None


def workload_annotations(budgets: Iterable[EnforcedBudget]) -> dict[Key, dict[str, str | None]]:
    """What each workload that a status names should say: its strictest budget, how it stands there, its emissions.

    In a budget per workload it stands by its own use: another run that is over says nothing of it.
    """
    named: dict[Key, dict[str, tuple[EnforcedBudget, WorkloadShareOfBudget, Candidate]]] = {}
    for budget in budgets:
        for use in budget.top:
            if use.kind in _KINDS and budget.state:
                key = (use.namespace, use.kind, use.name)
                found = (budget, use, budget.standing_of(use.percent, use.state))
                named.setdefault(key, {}).setdefault(budget.key, found)
    wanted: dict[Key, dict[str, str | None]] = {}
    for key, by_budget in named.items():
        first = strictest(candidate for _, _, candidate in by_budget.values())
        assert first is not None
        budget, use, candidate = by_budget[first.key]
        wanted[key] = {
            EMISSIONS_ANNOTATION: use.emissions,
            ACCOUNTING_ANNOTATION: _accounting(budget.market),
            AS_OF_ANNOTATION: format_time(budget.as_of) if budget.as_of else None,
            BUDGET_ANNOTATION: budget.shown,
            STATE_ANNOTATION: candidate.state.value,
        }
    return wanted


def _accounting(market: bool) -> Accounting:
    return "MarketBased" if market else "LocationBased"


def budget_state(annotations: Mapping[str, str | None]) -> tuple[str | None, str | None]:
    """What a change of is written first: the budget and the state."""
    return annotations.get(BUDGET_ANNOTATION), annotations.get(STATE_ANNOTATION)


def workload_path(key: Key) -> ApiPath:
    """Where it is. Its name is what a report says: whether an object can be called so, the path knows."""
    namespace, kind, name = key
    return _KINDS[kind].at(namespace, name)
