"""What one budget does from which threshold on, to which kinds, and whether it does it now, in plain words. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from carbonbudget_operator.admission.decide import Mode
from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.api.names import SUSPENDABLE_LABEL
from carbonbudget_operator.api.spec import Enforce, Threshold
from carbonbudget_operator.budgets.evaluate import reached
from carbonbudget_operator.cli.wording import at, listed, micrograms, utc

_DEFAULT: Final = (Threshold(at=80, action="Warn"), Threshold(at=100, action="Warn"))
_ALWAYS_WARNED: Final = ("Job", "Pod")
_MODES: Final[dict[Mode | None, str]] = {
    "Enforce": "enforcement.mode is Enforce: what the thresholds say is done.",
    "Warn": "enforcement.mode is Warn: nothing is refused or suspended here; what would be refused is warned of.",
    "Observe": "enforcement.mode is Observe: nothing is warned of, refused or suspended here.",
    None: "enforcement.mode cannot be seen with your rights: whether the thresholds act here is not known.",
}


def kinds(budget: AnyBudget) -> Sequence[str]:
    """What Block refuses."""
    return (budget.spec.enforce or Enforce()).kinds


def thresholds(budget: AnyBudget) -> list[str]:
    """What happens from which per cent on, to which kinds, and whether that is reached."""
    return [
        f"At {one.at} % it {_does(budget, one)} ({_reached(budget, one)})."
        for one in budget.spec.thresholds or _DEFAULT
    ]


def cluster(mode: Mode | None) -> list[str]:
    """Whether budgets act in this cluster."""
    return [_MODES[mode]]


def refused(budget: AnyBudget, now: dt.datetime, mode: Mode | None) -> list[str]:
    """What is refused and suspended now, and until when."""
    held = budget.status.enforcement
    if held is None:
        return ["Nothing."]
    if mode in ("Warn", "Observe"):  # the mode was changed since the budget was judged
        return [f"Nothing: the cluster's enforcement.mode is {mode}."]
    if utc(held.until) <= now:
        return [f"Nothing: the block ended {at(budget, held.until)} and was not renewed."]
    sentences = [
        f"New {listed(_named(kinds(budget)), 'or')} until {at(budget, held.until)}, "
        "renewed while the budget is exceeded."
    ]
    if budget.spec.per == "Workload":
        sentences = ["Nothing: a run's own budget stands in no other's way."]
    if held.suspend_from is not None:
        verb = "are" if utc(held.suspend_from) <= now else "will be"
        sentences.append(f"Running Jobs that opted in {verb} suspended from {at(budget, held.suspend_from)} on.")
    return sentences


def _does(budget: AnyBudget, threshold: Threshold) -> str:
    acts_on = kinds(budget)
    warned = listed(_named([*_ALWAYS_WARNED, *(kind for kind in acts_on if kind not in _ALWAYS_WARNED)]), "or")
    judged = listed(_named(acts_on), "or")
    grace = (budget.spec.enforce or Enforce()).grace
    label = f"{SUSPENDABLE_LABEL}=true"
    if threshold.basis == "Projected":
        return f"refuses a new {judged}" if threshold.action == "Block" else f"warns whoever creates a {warned}"
    if budget.spec.per == "Workload":
        return {
            "Warn": "tells of the run by an Event",
            "Block": "tells of the run by an Event, and refuses nobody else's work",
            "Suspend": f"suspends the run {grace} later, if it is a Job labelled {label}",
        }[threshold.action]
    refuses = f"refuses a new {judged}, and growth of what runs"
    return {
        "Warn": f"warns whoever creates a {warned}",
        "Block": refuses,
        "Suspend": f"{refuses}, and suspends running Jobs labelled {label} {grace} later",
    }[threshold.action]


def _reached(budget: AnyBudget, threshold: Threshold) -> str:
    status = budget.status
    if threshold.basis == "Projected":
        used = "" if budget.spec.per == "Workload" else "what was used and "
        return f"by {used}what the new work is expected to emit"
    if status.used_micrograms is None:
        found = status.percent_used is not None and status.percent_used >= threshold.at
    else:  # what revised factors added is shown and reaches nothing
        revised_ug = status.settled.revised_micrograms if status.settled else 0
        found = reached(max(0, status.used_micrograms - revised_ug), micrograms(budget.spec.limit), threshold.at)
    return "reached" if found else "not reached"


def _named(names: Sequence[str]) -> list[str]:
    return ["bare Pod" if name == "Pod" else name for name in names]
