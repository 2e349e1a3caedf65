"""What one budget blocks, warns of and suspends at an instant, by the functions of webhook and enforcement. Pure.

Nothing here is a rule of its own: what refuses is `WebhookBudget.blocks`, what warns is `admission_decision.warns`,
what suspends is `EnforcedBudget.suspends`; which kinds and namespaces budgets limit is read from the policy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carbonbudget_operator.admission.admission_decision import ALWAYS_WARNED, Mode, concerned, warns
from carbonbudget_operator.admission.reviewed_work import projects
from carbonbudget_operator.admission.webhook_budget import WebhookBudget, webhook_budget
from carbonbudget_operator.admission.workload_growth import GROWTH
from carbonbudget_operator.api.budget_spec import EnforceSpec
from carbonbudget_operator.api.carbonbudget import AnyBudget, ClusterCarbonBudget
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget, parse_budget


@dataclass(frozen=True, slots=True)
class ReaderContext:
    """What else the reader's rights let one see: whether they may change it, and enforcement.mode; None for unknown.

    `exempt`: budgets do not apply in its namespace, as far as that may be read. `limited_kinds`: the kinds whose
    creation budgets limit in this cluster; None where that cannot be seen.
    """

    may_change: bool | None
    mode: Mode | None
    exempt: bool = False
    limited_kinds: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class BudgetEffects:
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
    return (budget.spec.enforce or EnforceSpec()).kinds


def limited_here(budget: AnyBudget, found: Iterable[str], beside: ReaderContext) -> list[str]:
    """The kinds in `found` that budgets limit in this cluster: by the policy, else by the budget's status."""
    if beside.limited_kinds is not None:
        return [kind for kind in found if kind in beside.limited_kinds]
    left_out = budget.status.kinds_not_enforced or ()
    return [kind for kind in found if kind not in left_out]


def webhook_view(budget: AnyBudget) -> WebhookBudget | None:
    """As the webhook keeps it; None for one that it cannot read."""
    try:
        return webhook_budget(_body(budget), isinstance(budget, ClusterCarbonBudget))
    except (ValueError, OverflowError, OSError):
        return None


def enforcement_view(budget: AnyBudget) -> EnforcedBudget | None:
    """As enforcement reads it; None for one that it cannot read."""
    try:
        return parse_budget(_body(budget))
    except (ValueError, OverflowError, OSError):
        return None


def budget_effects(budget: AnyBudget, at: dt.datetime, beside: ReaderContext) -> BudgetEffects:
    """What it does at an instant, where the mode is Enforce; with Warn it warns alone, with Observe it does nothing."""
    found, now = webhook_view(budget), int(at.timestamp())
    if found is None or beside.exempt or beside.mode == "Observe":
        return BudgetEffects()
    acting = beside.mode != "Warn"
    mine = limited_here(budget, kinds(budget), beside)
    # The policy goes by status.enforcement alone; the webhook, which refuses growth, by the period too.
    refused = tuple(kind for kind in mine if acting and found.blocks(kind, now))
    warned = limited_here(budget, dict.fromkeys((*ALWAYS_WARNED, *mine)), beside)
    holds = found.counts(now)
    fits = any(threshold.blocks for threshold in found.projected) and (
        found.scope.per_workload or found.used_ug is not None
    )
    runs = enforcement_view(budget)
    return BudgetEffects(
        refused=refused,
        grown=tuple(kind for kind in refused if holds and kind in GROWTH),
        warned=tuple(kind for kind in warned if holds and kind not in refused and _warned(found, kind, acting)),
        projected=tuple(kind for kind in mine if holds and acting and fits and projects(kind) and kind not in refused),
        suspends=acting and runs is not None and runs.suspends(now),
    )


def _warned(budget: WebhookBudget, kind: str, acting: bool) -> bool:
    would = not acting and budget.would_block(kind)
    return would or (concerned(budget, kind) and warns(budget) and bool(budget.candidate.message))


def _body(budget: AnyBudget) -> dict[str, object]:
    body: dict[str, object] = budget.model_dump(by_alias=True, mode="json", exclude_none=True)
    return body
