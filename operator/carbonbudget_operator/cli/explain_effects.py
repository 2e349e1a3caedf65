"""What one budget does from which threshold on, to which kinds, and whether it does it now, in plain words. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from carbonbudget_operator.admission.admission_decision import ALWAYS_WARNED, Mode
from carbonbudget_operator.admission.reviewed_work import projects
from carbonbudget_operator.admission.workload_growth import GROWTH
from carbonbudget_operator.api.budget_spec import EnforceSpec, ThresholdSpec
from carbonbudget_operator.api.budget_status import MOST_WORKLOADS
from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.api.wire_names import ENFORCEMENT_LABEL, SUSPENDABLE_LABEL
from carbonbudget_operator.budgets.limit_in_force import limit_in_force_ug
from carbonbudget_operator.budgets.quantity import QuantityError
from carbonbudget_operator.budgets.verdict import Action, reached
from carbonbudget_operator.cli.budget_effects import (
    ReaderContext,
    budget_effects,
    enforcement_view,
    kinds,
    limited_here,
)
from carbonbudget_operator.cli.formatted_values import at, listed, utc

_DEFAULT: Final = (ThresholdSpec(at=80, action="Warn"), ThresholdSpec(at=100, action="Warn"))
_EXEMPT: Final = (
    f"Nothing: the namespace is labelled {ENFORCEMENT_LABEL}=off, or the chart leaves it out, so nothing in it is "
    "refused or suspended."
)
_MODES: Final[dict[Mode | None, str]] = {
    "Enforce": "enforcement.mode is Enforce: what the thresholds say is done.",
    "Warn": "enforcement.mode is Warn: nothing is refused or suspended here; what would be refused is warned of.",
    "Observe": "enforcement.mode is Observe: nothing is warned of, refused or suspended here.",
    None: "enforcement.mode cannot be seen with your rights: whether the thresholds act here is not known.",
}


def thresholds(budget: AnyBudget, now: dt.datetime, beside: ReaderContext) -> list[str]:
    """What happens from which per cent on, to which kinds, and whether that is reached."""
    sentences = [
        f"At {one.at} % it {_does(budget, one, beside)} ({_reached(budget, one, now)})."
        for one in sorted(budget.spec.thresholds or _DEFAULT, key=lambda one: one.at)
    ]
    return sentences + _unlimited_kinds(budget, beside)


def cluster(mode: Mode | None) -> list[str]:
    """Whether budgets act in this cluster."""
    return [_MODES[mode]]


def outside(budget: AnyBudget, now: dt.datetime) -> str:
    """Why nothing of its period counts now; empty where it does."""
    period = budget.status.period
    if period is None:
        return ""
    if utc(period.end) <= now:
        return f"its period ended {at(budget, period.end)}"
    return f"its period begins {at(budget, period.start)}" if now < utc(period.start) else ""


def refused_now(budget: AnyBudget, now: dt.datetime, beside: ReaderContext) -> list[str]:
    """What is refused and suspended now, and until when."""
    if beside.exempt:
        return [_EXEMPT]
    if beside.mode in ("Warn", "Observe"):  # the mode may have been changed since the last evaluation
        return [f"Nothing: the cluster's enforcement.mode is {beside.mode}."]
    found, enforcement = budget_effects(budget, now, beside), budget.status.enforcement
    sentences = []
    if found.refused and enforcement is not None:
        sentences.append(
            f"New {listed(_named(found.refused), 'or')} until {at(budget, enforcement.until)}, renewed while the "
            f"threshold stays reached{_selected(budget)}."
        )
    if found.grown:
        sentences.append(f"Also {listed([GROWTH[kind] for kind in found.grown], 'or')}, by the webhook alone.")
    if found.projected:
        limits = [t.at for t in budget.spec.thresholds or () if t.basis == "Projected" and t.action == "Block"]
        sentences.append(
            f"New {listed(_named(found.projected), 'or')} that would reach {min(limits)} % by what it is expected to "
            "emit, by the webhook alone."
        )
    if not sentences:
        sentences = [f"Nothing{_why_nothing(budget, now, beside)}."]
    if found.suspends and enforcement is not None and enforcement.suspend_from is not None:
        verb = "are" if utc(enforcement.suspend_from) <= now else "will be"
        sentences.append(f"{_suspended(budget)} {verb} suspended from {at(budget, enforcement.suspend_from)} on.")
        runs = enforcement_view(budget)
        if runs is not None and not runs.status_is_current:
            sentences.append("No further Job is suspended until the edited budget is evaluated.")
    return sentences


def _why_nothing(budget: AnyBudget, now: dt.datetime, beside: ReaderContext) -> str:
    enforcement = budget.status.enforcement
    if enforcement is None:
        return f": {why}" if (why := outside(budget, now)) else ""
    if why := outside(budget, now):
        return f": {why}"
    if utc(enforcement.until) <= now:
        return f": the block ended {at(budget, enforcement.until)} and was not renewed"
    if budget.spec.per == "Workload":
        return ": a budget for each workload blocks no other workload"
    if not limited_here(budget, kinds(budget), beside):
        return f": budgets do not apply to {listed(_named(kinds(budget)), 'or')} in this cluster"
    return ""


def _suspended(budget: AnyBudget) -> str:
    label = f"{SUSPENDABLE_LABEL}=true"
    if budget.spec.per != "Workload":
        return f"Running Jobs labelled {label}"
    found = enforcement_view(budget)
    limit = found.suspend_at_percent if found is not None else 100
    return f"Running Jobs labelled {label} that used {limit} % of the limit each"


def _selected(budget: AnyBudget) -> str:
    return " (whose pods its selector picks)" if budget.spec.selector else ""


def _unlimited_kinds(budget: AnyBudget, beside: ReaderContext) -> list[str]:
    """The kinds that the budget names and that budgets cannot limit in this cluster."""
    mine = kinds(budget)
    left = [kind for kind in mine if kind not in limited_here(budget, mine, beside)]
    if not left:
        return []
    return [
        f"Budgets do not apply to {listed(_named(left))} of enforce.kinds in this cluster: mistyped, or missing from "
        "the chart's enforcement.kinds."
    ]


def _does(budget: AnyBudget, threshold: ThresholdSpec, beside: ReaderContext) -> str:
    mine = limited_here(budget, kinds(budget), beside)
    warned = limited_here(budget, dict.fromkeys((*ALWAYS_WARNED, *mine)), beside)
    grace = (budget.spec.enforce or EnforceSpec()).grace
    label = f"{SUSPENDABLE_LABEL}=true"
    if threshold.basis == "Projected":
        return _projects(mine, threshold) if threshold.action == "Block" else _warns(list(filter(projects, warned)))
    if budget.spec.per == "Workload":
        return {
            "Warn": "reports the run by an Event",
            "Block": "reports the run by an Event, and refuses nobody else's work",
            "Suspend": f"reports the run by an Event, and suspends it {grace} later, if it is a Job labelled {label}",
        }[threshold.action]
    if threshold.action == "Warn":
        return _warns(warned)
    refuses = f"refuses a new {listed(_named(mine), 'or')}" if mine else "refuses nothing"
    if grown := [kind for kind in mine if kind in GROWTH]:
        refuses += f", and growth ({'; '.join(GROWTH[kind] for kind in grown)})"
    others = [kind for kind in warned if kind not in mine]
    if threshold.action == "Block":
        return f"{refuses}, and {_warns(others)}" if others else refuses
    return f"{refuses}, and suspends running Jobs labelled {label} {grace} later"


def _warns(found: Sequence[str]) -> str:
    return f"warns whoever creates a {listed(_named(found), 'or')}" if found else "warns nobody"


def _projects(mine: Sequence[str], threshold: ThresholdSpec) -> str:
    known = [kind for kind in mine if projects(kind)]
    return f"refuses a new {listed(_named(known), 'or')}" if known else f"{threshold.action.lower()}s nothing"


def _reached(budget: AnyBudget, threshold: ThresholdSpec, now: dt.datetime) -> str:
    status = budget.status
    if why := outside(budget, now):
        if threshold.basis == "Projected":
            return why
        over = _by_use(budget, threshold)
        ended = "ended" in why
        word = ("was reached" if over else "was not reached") if ended else ("reached" if over else "not reached")
        return f"{word}; {why}, so that it does nothing now"
    if threshold.basis == "Projected":
        used = "" if budget.spec.per == "Workload" else "what was used and "
        return f"by {used}what the new work is expected to emit"
    if not _by_use(budget, threshold):
        return "not reached"
    if status.action is not None and _rank(status.action) < Action[threshold.action.upper()]:
        if status.state == "Unknown":
            return "reached by what was known last; it does nothing now, since there are no data"
        return "reached, but not evaluated yet: it does nothing now"
    if budget.spec.per == "Workload":
        tops = status.top_workloads or ()
        runs = sum((top.percent or 0) >= threshold.at for top in tops)
        least = "at least " if runs == MOST_WORKLOADS else ""  # a status names no more
        return f"reached by {least}{runs} {'run' if runs == 1 else 'runs'}" if runs else "reached"
    return "reached"


def _rank(action: str) -> Action:
    return next((one for one in Action if one.word == action), Action.NONE)


def _by_use(budget: AnyBudget, threshold: ThresholdSpec) -> bool:
    status = budget.status
    if status.used_micrograms is None:
        return status.percent_used is not None and status.percent_used >= threshold.at
    # What revised factors added is shown and reaches nothing.
    revised_ug = status.settled.revised_micrograms if status.settled else 0
    try:
        limit_ug = limit_in_force_ug(budget)
    except QuantityError:
        limit_ug = 0
    return reached(max(0, status.used_micrograms - revised_ug), limit_ug, threshold.at)


def _named(names: Sequence[str]) -> list[str]:
    return ["bare Pod" if name == "Pod" else name for name in names]
