"""One budget in plain words: headings with their sentences. Pure: the budget and the time in, texts out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from carbonbudget_operator.admission.decide import Mode
from carbonbudget_operator.api.carbonbudget import AnyBudget, ClusterCarbonBudget
from carbonbudget_operator.api.names import ENFORCEMENT_LABEL
from carbonbudget_operator.cli.explain_acts import cluster, kinds, refused, thresholds
from carbonbudget_operator.cli.explain_use import forecast, measured, used
from carbonbudget_operator.cli.standing import kind_of
from carbonbudget_operator.cli.wording import at, labels, listed, utc

_EXEMPT = f"Nothing: the namespace is labelled {ENFORCEMENT_LABEL}=off, so nothing in it is refused or suspended."


@dataclass(frozen=True, slots=True)
class Beside:
    """What else the reader's rights let one see: whether they may change it, and enforcement.mode; None for unknown.

    `exempt`: its namespace is labelled off, as far as that may be read.
    """

    may_change: bool | None
    mode: Mode | None
    exempt: bool = False


def explain(budget: AnyBudget, now: dt.datetime, beside: Beside) -> list[tuple[str, list[str]]]:
    """Headings with their sentences."""
    sections = [
        ("Counts", _counts(budget)),
        ("Used", used(budget)),
        ("Measured", measured(budget)),
        ("Forecast", forecast(budget)),
        ("Thresholds", thresholds(budget)),
        ("Refused now", [_EXEMPT] if beside.exempt else refused(budget, now, beside.mode)),
        ("Cluster", cluster(beside.mode)),
        ("Troubles", _troubles(budget)),
        ("Who decides", _decides(budget, beside.may_change)),
        ("Next", _next(budget, now, "Observe" if beside.exempt else beside.mode)),
    ]
    return [(heading, sentences) for heading, sentences in sections if sentences]


def as_json(budget: AnyBudget, beside: Beside, sections: Sequence[tuple[str, list[str]]]) -> dict[str, object]:
    """The answer as a machine reads it (docs/reference/commands.md)."""
    return {
        "kind": kind_of(budget),
        "namespace": budget.metadata.namespace,
        "name": budget.metadata.name,
        "kinds": list(kinds(budget)),
        "enforcementMode": beside.mode,
        "mayChange": beside.may_change,
        "sections": [{"heading": heading, "sentences": sentences} for heading, sentences in sections],
    }


def _counts(budget: AnyBudget) -> list[str]:
    spec, period = budget.spec, budget.status.period
    if isinstance(budget, ClusterCarbonBudget):
        chosen = budget.spec.namespace_selector
        spaces = f"namespaces with {labels(chosen.model_dump(by_alias=True))}" if chosen else "all namespaces"
    else:
        spaces = f"namespace {budget.metadata.namespace}"
    pods = f"pods with {labels(spec.selector.model_dump(by_alias=True))}" if spec.selector else "all pods"
    span = (
        f"from {at(budget, period.start)} until {at(budget, period.end)} ({spec.time_zone})"
        if period
        else f"in each {spec.period.lower()} ({spec.time_zone})"
        if spec.period
        else "in its span"
    )
    left_out = [part for part in ("Dynamic", "Idle", "Overhead", "Embodied") if part not in spec.include]
    without = f", without {listed([part.lower() for part in left_out])}" if left_out else ""
    limit = f"{spec.limit} of CO2e for each workload by itself" if spec.per == "Workload" else f"{spec.limit} of CO2e"
    by = "the grid it is drawn from" if spec.accounting == "LocationBased" else "the contracts it is bought under"
    return [
        f"The emissions of {pods} in {spaces}, {span}. Allowed are {limit}.",
        f"Energy is valued by {by}; what counts is {listed([part.lower() for part in spec.include])}{without}.",
    ]


def _troubles(budget: AnyBudget) -> list[str]:
    bad = {"Ready": "False", "DataComplete": "False", "EnforcementConflict": "True"}
    return [
        f"{one.type} is {one.status} ({one.reason}): {one.message}"
        for one in budget.status.conditions or ()
        if bad.get(one.type) == one.status
    ]


def _decides(budget: AnyBudget, may_change: bool | None) -> list[str]:
    sentences = {
        None: [],
        True: ["You may change it."],
        False: ["You may not change it: that takes the role carbonbudget-editor."],
    }[may_change]
    if budget.spec.contact:
        sentences = [*sentences, f"Ask {budget.spec.contact}."]
    return sentences


def _next(budget: AnyBudget, now: dt.datetime, mode: Mode | None) -> list[str]:
    status, space = budget.status, budget.metadata.namespace
    held = status.enforcement if mode not in ("Warn", "Observe") else None
    where = f" -n {space}" if space else ""
    if status.used is None:
        return ["Look again in two minutes; then at the conditions and at the controller's log."]
    sentences = []
    if budget.spec.per != "Workload" and held is not None and utc(held.until) > now:
        sentences.append(
            f"Wait until {at(budget, status.period.end if status.period else None) or 'the reset'}, have the limit "
            "raised, or let somebody with the verb exempt label urgent work carbonbudget.dev/exempt=true."
        )
    if status.state == "Unknown":
        sentences.append("There are no data now: see whether agents and server run, and the conditions.")
    if status.state in ("Warning", "Exceeded"):
        sentences.append(f"See who used most: kubectl carbon top{where or ' -A'}.")
    if status.state in ("WithinBudget", "Warning"):
        sentences.append(f"Ask before creating: carbonbudget check{where} -f job.yaml.")
    return sentences
