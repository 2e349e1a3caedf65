"""The figures of a budget that a transfer is decided by, from its object and its last verdict. No I/O, no clock."""

from __future__ import annotations

from pydantic import ValidationError

from carbonbudget_operator.budgets.limit_in_force import base_limit_ug
from carbonbudget_operator.budgets.quantity import QuantityError
from carbonbudget_operator.budgets.transfers import BudgetFigures
from carbonbudget_operator.budgets.verdict import State, Verdict
from carbonbudget_operator.controller.budget_store import StoredBudget


def transfer_figures(stored: StoredBudget, verdict: Verdict | None) -> BudgetFigures | None:
    """The budget's figures; None where it cannot be evaluated, or was not yet.

    `verdict` is the last one of this object (of its uid). Its use is not taken after an edit of the spec, which may
    count other pods, until the budget is evaluated again.
    """
    if verdict is None or stored.missing_spec_reason:
        return None
    try:
        resource = stored.budget_object
        base_ug = base_limit_ug(resource)
    except (ValidationError, QuantityError):
        return None
    known = verdict.state is not State.UNKNOWN and verdict.generation == resource.metadata.generation
    return BudgetFigures(
        period=verdict.period,
        base_limit_ug=base_ug,
        used_ug=verdict.used_ug if known else None,
        parent=resource.spec.parent or "",
        accounting=resource.spec.accounting,
        per_workload=resource.spec.per == "Workload",
        uid=stored.uid,
    )
