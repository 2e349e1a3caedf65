"""Sentences with figures that the webhook adds to its answer to `carbonbudget check`. Pure.

They give the expected emissions and what is left of each budget. A request of another client gets none. The command
that prints them is cli/check.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

from carbonbudget_operator.admission.admission_decision import (
    AdmissionDecision,
    Expectation,
    Mode,
    accounting_method,
    cut,
    expectation_sentence,
)
from carbonbudget_operator.admission.reviewed_work import ReviewedWork
from carbonbudget_operator.admission.webhook_budget import WebhookBudget
from carbonbudget_operator.budgets.coverage import Covers, selects
from carbonbudget_operator.budgets.expected_emissions import ExpectedEmissions, NoExpectation
from carbonbudget_operator.budgets.quantity import exact_mass, format_mass

FIGURES: Final = "for information: "  # the beginning of each sentence, by which the command recognises it
_MOST_FIGURES: Final = 5


def check_figures(
    work: ReviewedWork,
    covering: Sequence[WebhookBudget],
    budgets: Sequence[WebhookBudget],
    expected: Expectation,
    decision: AdmissionDecision,
    mode: Mode,
) -> list[str]:
    """The figures of each of the `covering` budgets, and which `budgets` of the namespace miss the work by its labels.

    All budgets are in their period; `covering` is sorted, the strictest first.

    A sentence that the warnings or the refusal already contain is left out.
    """
    sent = (*decision.warnings, decision.refusal)
    figures = _projections(work, covering, expected, mode) + _missed(work, budgets, mode)
    return [one for one in figures if not any(one.removeprefix(FIGURES) in sentence for sentence in sent)]


def _projections(work: ReviewedWork, budgets: Sequence[WebhookBudget], expected: Expectation, mode: Mode) -> list[str]:
    """What is expected under each budget, or why nothing is, and what is left; the strictest first, at most five."""
    if mode == "Observe":
        return []
    named = f"{work.workload_kind.kind} {work.name}"
    if work.exempt:
        return [f"{FIGURES}{named} is exempt: no carbon budget is asked"]
    if not budgets:
        return [f"{FIGURES}no carbon budget that counts now selects {named}: nothing limits it"]
    return [cut(f"{FIGURES}{_figures(work, budget, expected(budget))}") for budget in budgets[:_MOST_FIGURES]]


def _missed(work: ReviewedWork, budgets: Sequence[WebhookBudget], mode: Mode) -> list[str]:
    """Budgets that select the labels of the object and not those of its pods; at most five."""
    if mode == "Observe" or work.exempt:
        return []
    kind, together = work.workload_kind.kind, {**work.labels, **work.own_labels}
    missed = [
        budget.name
        for budget in budgets
        if selects(budget.scope.selector, together) is Covers.YES
        and selects(budget.scope.selector, work.labels) is Covers.NO
    ]
    return [
        cut(
            f"{FIGURES}carbon budget {name} does not select {kind} {work.name}: it goes by the labels of the pod "
            f"template (spec.template.metadata.labels), and only the {kind}'s own labels match"
        )
        for name in missed[:_MOST_FIGURES]
    ]


def _figures(work: ReviewedWork, budget: WebhookBudget, own: ExpectedEmissions | NoExpectation) -> str:
    if (
        isinstance(own, ExpectedEmissions)
        and not own.former
        and work.plan is not None
        and not any(astuple(work.plan.demand))
    ):
        own = NoExpectation.NO_REQUESTS  # 0 g would not be true
    known = budget.scope.per_workload or budget.used_ug is not None
    if isinstance(own, ExpectedEmissions) and known:
        return expectation_sentence(work, budget, own)
    if budget.scope.per_workload:
        room = f"allowed {exact_mass(budget.limit_ug)} for each workload"
    elif budget.used_ug is None:
        room = f"not known what is left of {exact_mass(budget.limit_ug)} CO2e, since there are no data now"
    else:
        left = format_mass(max(0, budget.limit_ug - budget.used_ug))
        room = f"left {left} of {exact_mass(budget.limit_ug)} CO2e, {accounting_method(budget)}"
    if isinstance(own, ExpectedEmissions):
        return (
            f"carbon budget {budget.name}: expected {format_mass(own.micrograms)}, {accounting_method(budget)}; {room}"
        )
    return f"carbon budget {budget.name}: {room}; nothing is expected of {work.workload_kind.kind} {work.name}: {own}"
