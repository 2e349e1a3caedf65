"""One budget in plain words: headings with their sentences. Pure: the budget and the time in, texts out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from carbonbudget_operator.api.budget_status import LOCATION_STANDS_IN
from carbonbudget_operator.api.carbonbudget import AnyBudget, ClusterCarbonBudget, budget_kind
from carbonbudget_operator.api.condition_troubles import is_trouble
from carbonbudget_operator.api.wire_names import SUSPENDED_LABEL
from carbonbudget_operator.budgets.limit_in_force import adjusted_limit_text
from carbonbudget_operator.cli.budget_effects import ReaderContext, budget_effects, kinds
from carbonbudget_operator.cli.explain_effects import cluster, outside, refused_now, thresholds
from carbonbudget_operator.cli.explain_use import forecast, measured, used
from carbonbudget_operator.cli.formatted_values import at, instant_of, labels, listed
from carbonbudget_operator.printable import printable


def explain(budget: AnyBudget, now: dt.datetime, beside: ReaderContext) -> list[tuple[str, list[str]]]:
    """Headings with their sentences."""
    sections = [
        ("Counts", _counts(budget)),
        ("Used", used(budget)),
        ("Measured", measured(budget)),
        ("Forecast", forecast(budget, now)),
        ("Thresholds", thresholds(budget, now, beside)),
        ("Refused now", refused_now(budget, now, beside)),
        ("Cluster", cluster(beside.mode)),
        ("Troubles", _troubles(budget)),
        ("Who decides", _decides(budget, beside.may_change)),
        ("Next", _next(budget, now, beside)),
    ]
    return [(heading, sentences) for heading, sentences in sections if sentences]


def as_json(budget: AnyBudget, beside: ReaderContext, sections: Sequence[tuple[str, list[str]]]) -> dict[str, object]:
    """The answer as a machine reads it (docs/reference/commands.md)."""
    return {
        "kind": budget_kind(budget),
        "namespace": budget.metadata.namespace,
        "name": budget.metadata.name,
        "kinds": list(kinds(budget)),
        "enforcementMode": beside.mode,
        "judgedKinds": sorted(beside.limited_kinds) if beside.limited_kinds is not None else None,
        "asOf": instant_of(budget.status.data_through),
        "accounting": budget.spec.accounting,
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
    limit = f"{adjusted_limit_text(budget)} of CO2e" + (
        " for each workload by itself" if spec.per == "Workload" else ""
    )
    return [
        f"The emissions of {pods} in {spaces}, {span}. Allowed are {limit}.",
        *_adjustments(budget),
        f"{_valued(budget)}; what counts is {listed([part.lower() for part in spec.include])}{without}.",
    ]


def _adjustments(budget: AnyBudget) -> list[str]:
    """What changed the limit of this period; nothing where nothing did."""
    words = {
        "CarryOver": "carried over from the {0}", "Overspend": "for overspend of the {0}",
        "TransferIn": "received by {0}", "TransferOut": "given away by {0}", "Credit": "credited: {0}",
    }  # fmt: skip
    told = [
        f"{one.amount} {words.get(one.reason, one.reason + ': {0}').format(printable(one.source))}"
        for one in budget.status.adjustments or ()
    ]
    return [f"Its adjustments: {listed(told)}."] if told else []


def _valued(budget: AnyBudget) -> str:
    """By which figures its energy is valued: what the server used, by the condition that it led to."""
    if budget.spec.accounting == "LocationBased":
        return "Energy is valued by the grid it is drawn from (location-based)"
    exact = next((one for one in budget.status.conditions or () if one.type == "FiguresExact"), None)
    if exact is None or budget.status.used is None:
        return "Energy is to be valued market-based; nothing was valued yet"
    if exact.status == "Unknown":
        return "Energy is valued market-based"
    if exact.reason == LOCATION_STANDS_IN:
        return (
            "Energy is to be valued market-based, and the grid's figure is used where no contract or supplier is known"
        )
    return "Energy is valued by contracts, supplier's factors or claims of the cluster's settings (market-based)"


def _troubles(budget: AnyBudget) -> list[str]:
    return [
        f"{one.type} is {one.status} ({one.reason}): {one.message}"
        for one in budget.status.conditions or ()
        if is_trouble(one.type, one.status)
    ]


def _decides(budget: AnyBudget, may_change: bool | None) -> list[str]:
    role = "carbonbudget-cluster-editor" if isinstance(budget, ClusterCarbonBudget) else "carbonbudget-editor"
    sentences = {
        None: [],
        True: ["You may change it."],
        False: [f"You may not change it: that takes the role {role}."],
    }[may_change]
    if budget.spec.contact:
        sentences = [*sentences, f"Ask {budget.spec.contact}."]
    return sentences


def _next(budget: AnyBudget, now: dt.datetime, beside: ReaderContext) -> list[str]:
    status, space = budget.status, budget.metadata.namespace
    where = f" -n {space}" if space else ""
    if status.used is None:
        return ["Look again in two minutes; then at the conditions and at the controller's log."]
    if why := outside(budget, now):
        if budget.spec.period is None and "ended" in why:
            return ["It counts no more: set start and end anew, or make another budget."]
        if "ended" in why:
            return ["Its next period is not evaluated yet: look at the conditions and at the controller's log."]
        return []
    sentences = []
    found = budget_effects(budget, now, beside)
    if found.refused:
        sentences.append(
            f"Wait until {at(budget, status.period.end if status.period else None) or 'the reset'}, have the limit "
            "raised, or let somebody with the verb exempt label urgent work carbonbudget.dev/exempt=true."
        )
    if found.suspends:
        end = at(budget, status.period.end if status.period else None) or "the reset"
        sentences.append(
            f"See which Jobs are suspended: kubectl get jobs{where or ' -A'} -l {SUSPENDED_LABEL}=true. They resume by "
            f"themselves after {end}, or when the limit is raised."
        )
    if status.state == "Unknown":
        sentences.append("There are no data now: see whether agents and server run, and the conditions.")
    if status.state in ("Warning", "Exceeded"):
        sentences.append(f"See who used most: kubectl carbon top{where or ' -A'}.")
    applies = beside.mode != "Observe" and not beside.exempt
    if applies and not found.refused and status.state in ("WithinBudget", "Warning"):
        sentences.append(f"Ask before creating: carbonbudget check{where} -f job.yaml.")
    return sentences
