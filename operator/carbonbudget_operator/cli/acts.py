"""What one budget does at an instant, by the functions that do it: webhook, policy and enforcement. Pure.

Nothing here is a rule of its own: what refuses is `BudgetView.blocks`, what warns is `admission.decide.warns`, what
suspends is `enforcement.budgets.Budget.suspends`; which kinds and namespaces are judged is read from the policy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carbonbudget_operator.admission.decide import ALWAYS_WARNED, Mode, concerned, warns
from carbonbudget_operator.admission.view import BudgetView, view
from carbonbudget_operator.admission.work import GROWTH, projects
from carbonbudget_operator.api.carbonbudget import AnyBudget, ClusterCarbonBudget
from carbonbudget_operator.api.spec import Enforce
from carbonbudget_operator.api.status import KINDS_NOT_JUDGED
from carbonbudget_operator.enforcement.budgets import Budget, parse_budget


@dataclass(frozen=True, slots=True)
class Beside:
    """What else the reader's rights let one see: whether they may change it, and enforcement.mode; None for unknown.

    `exempt`: nothing in its namespace is judged, as far as that may be read. `judged`: the kinds whose creation is
    judged in this cluster; None where that cannot be seen.
    """

    may_change: bool | None
    mode: Mode | None
    exempt: bool = False
    judged: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Acts:
    """Each of the kinds that it does something about now.

    `refused`: new work is. `grown`: growth is. `warned`: whoever creates it is. `projected`: new work is that is
    expected not to fit. `suspends`: running Jobs are, from `status.enforcement.suspendFrom` on.
    """

    refused: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    projected: tuple[str, ...] = ()
    suspends: bool = False


def kinds(budget: AnyBudget) -> Sequence[str]:
    """What Block refuses, by the budget."""
    return (budget.spec.enforce or Enforce()).kinds


def judged(budget: AnyBudget, found: Iterable[str], beside: Beside) -> list[str]:
    """Of these kinds those that are judged here: by the policy, else by what the controller found."""
    if beside.judged is not None:
        return [kind for kind in found if kind in beside.judged]
    ready = next((one for one in budget.status.conditions or () if one.reason == KINDS_NOT_JUDGED), None)
    left_out = ready.message.partition(" of enforce.kinds")[0].split(", ") if ready is not None else []
    return [kind for kind in found if kind not in left_out]


def viewed(budget: AnyBudget) -> BudgetView | None:
    """As the webhook keeps it; None for one that it cannot read."""
    try:
        return view(_body(budget), isinstance(budget, ClusterCarbonBudget))
    except (ValueError, OverflowError, OSError):
        return None


def enforced(budget: AnyBudget) -> Budget | None:
    """As enforcement reads it; None for one that it cannot read."""
    try:
        return parse_budget(_body(budget))
    except (ValueError, OverflowError, OSError):
        return None


def acts(budget: AnyBudget, at: dt.datetime, beside: Beside) -> Acts:
    """What it does at an instant, where the mode is Enforce; with Warn it warns alone, with Observe it does nothing."""
    found, now = viewed(budget), int(at.timestamp())
    if found is None or beside.exempt or beside.mode == "Observe":
        return Acts()
    acting = beside.mode != "Warn"
    mine = judged(budget, kinds(budget), beside)
    # The policy goes by status.enforcement alone; the webhook, which refuses growth, by the period too.
    refused = tuple(kind for kind in mine if acting and found.blocks(kind, now))
    warned = judged(budget, dict.fromkeys((*ALWAYS_WARNED, *mine)), beside)
    holds = found.counts(now)
    fits = any(threshold.blocks for threshold in found.projected) and (found.per_workload or found.used_ug is not None)
    runs = enforced(budget)
    return Acts(
        refused=refused,
        grown=tuple(kind for kind in refused if holds and kind in GROWTH),
        warned=tuple(kind for kind in warned if holds and kind not in refused and _warned(found, kind, acting)),
        projected=tuple(kind for kind in mine if holds and acting and fits and projects(kind) and kind not in refused),
        suspends=acting and runs is not None and runs.suspends(now),
    )


def _warned(budget: BudgetView, kind: str, acting: bool) -> bool:
    would = not acting and budget.would_block(kind)
    return would or (concerned(budget, kind) and warns(budget) and bool(budget.candidate.message))


def _body(budget: AnyBudget) -> dict[str, object]:
    body: dict[str, object] = budget.model_dump(by_alias=True, mode="json", exclude_none=True)
    return body
