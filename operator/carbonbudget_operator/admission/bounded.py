"""Limits the size in memory of one budget, whatever its author wrote. Pure.

The CRD bounds keys and values, but an object may be older than that rule. What no pod can have is left out of a
selector without changing what it selects; what is left over beyond a number of labels is left out too, so that the
budget selects more and never less: its block does not vanish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from carbonbudget_operator.admission.budget_view import BudgetView, budget_view
from carbonbudget_operator.api.selector import LabelSelector, LabelSelectorRequirement
from carbonbudget_operator.budgets.coverage import Requirement, Selector

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_MAX_KEY: Final = 317
_MAX_VALUE: Final = 63
_MOST_LABELS: Final = 64
_MAX_MESSAGE: Final = 1024


def bounded_view(body: Mapping[str, object], cluster: bool) -> BudgetView | None:
    """The budget; None where it selects nothing that can exist. Raises ValueError for what is no budget."""
    found = budget_view(body, cluster)
    selectors = [found.scope.selector, found.scope.namespace_selector]
    if not all(selector is None or _possible(selector) for selector in selectors):
        return None
    own, namespaces = (None if selector is None else _bounded(selector) for selector in selectors)
    message = found.candidate.message[:_MAX_MESSAGE]
    scope = replace(found.scope, selector=own, namespace_selector=namespaces)
    return replace(found, scope=scope, candidate=replace(found.candidate, message=message))


def text_bytes(budget: BudgetView) -> int:
    """About how much it holds: fixed parts, sentence and selectors."""
    texts = [budget.candidate.message]
    for selector in (budget.scope.selector, budget.scope.namespace_selector):
        if selector is not None:
            texts += [*selector.match_labels, *selector.match_labels.values()]
            texts += [text for one in selector.match_expressions for text in (one.key, *one.values)]
    return 1_500 + sum(80 + len(text) for text in texts)


def _possible(selector: Selector) -> bool:
    """Whether any object can have what it asks for."""
    if any(len(key) > _MAX_KEY or len(value) > _MAX_VALUE for key, value in selector.match_labels.items()):
        return False
    return all(_values(one) for one in selector.match_expressions if one.operator == "In")


def _bounded(selector: Selector) -> LabelSelector:
    labels = dict(list(selector.match_labels.items())[:_MOST_LABELS])
    expressions = [
        LabelSelectorRequirement(key=one.key, operator=one.operator, values=_values(one))
        for one in selector.match_expressions
    ]
    return LabelSelector(match_labels=labels, match_expressions=expressions)


def _values(requirement: Requirement) -> list[str]:
    return [value for value in requirement.values if len(value) <= _MAX_VALUE]
