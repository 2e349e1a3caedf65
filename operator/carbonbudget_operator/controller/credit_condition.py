"""The condition CreditsAvailable of a budget that credits targets: which entries cannot earn anything, and why.

No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from carbonbudget_core.jsons import at, objects, text
from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.controller.baseline_method import COMPARABLE, METHOD_CHANGED
from carbonbudget_operator.controller.status_conditions import CREDITS, DesiredCondition

_SHOWN: Final = 3
TargetLookup = Callable[[str], Mapping[str, object] | None]  # the body by namespace/name, or /name


def credit_condition(budget: AnyBudget, target_of: TargetLookup) -> DesiredCondition | None:
    """Whether each entry of spec.credits can earn something; None for a budget without entries."""
    spec = budget.spec
    if not spec.credits:
        return None
    if spec.period is None or spec.per == "Workload":
        sentence = (
            "spec.credits earns nothing: a budget with per: Workload has not one limit, and one with start and end has "
            "no next period; write period and per: Selection"
        )
        return DesiredCondition(CREDITS, "False", "NoNextPeriod", sentence)
    found = [
        (reason, sentence)
        for entry in spec.credits
        for reason, sentence in [_defect(budget, entry.target, target_of)]
        if reason
    ]
    if not found:
        return DesiredCondition(CREDITS, "True", "Available", "each target of spec.credits can earn credits")
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return DesiredCondition(CREDITS, "False", found[0][0], "; ".join(one for _, one in found[:_SHOWN]) + more)


def _defect(budget: AnyBudget, name: str, target_of: TargetLookup) -> tuple[str, str]:
    """The reason and a sentence; empty where the target can earn credits."""
    target = target_of(f"{budget.metadata.namespace}/{name}")
    if target is None:
        kind = "CarbonTarget of this namespace" if budget.metadata.namespace else "ClusterCarbonTarget"
        return "TargetNotFound", f"target {name} earns nothing: there is no {kind} of that name; create it"
    spec = at(target, "spec")
    if at(spec, "baseline").get("value") is not None:
        return (
            "BaselineNotMeasured",
            f"target {name} earns nothing: its baseline is a value that nobody measured; give it start and end",
        )
    if (text(spec.get("accounting")) or "LocationBased") != budget.spec.accounting:
        return (
            "AccountingDiffers",
            f"target {name} earns nothing: its accounting is not this budget's, {budget.spec.accounting}; "
            "change one of both",
        )
    for condition in objects(at(target, "status").get("conditions")):
        if (condition.get("type"), condition.get("status")) == (COMPARABLE, "False"):
            return METHOD_CHANGED, f"target {name} earns nothing: {text(condition.get('message'))}"
    return "", ""
