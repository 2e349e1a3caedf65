"""A budget as the webhook stores it: parsed once, in a tenth of the memory of the API model, and bounded in size. Pure.

The CRD bounds keys and values, but an object may be older than that rule. Keys and values that no pod can have are left
out, which does not change what the selector selects. Labels beyond a number are left out too: the budget then selects
more pods, never fewer, so that no block disappears.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from carbonbudget_operator.api.carbonbudget import CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.selector import LabelSelector, LabelSelectorRequirement
from carbonbudget_operator.budgets.coverage import Requirement, Scope, Selector
from carbonbudget_operator.budgets.limit_in_force import limit_in_force_ug
from carbonbudget_operator.budgets.strictest import Candidate, strictness
from carbonbudget_operator.budgets.verdict import Action, State
from carbonbudget_operator.printable import printable

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_MAX_KEY: Final = 317
_MAX_VALUE: Final = 63
_MOST_LABELS: Final = 64
_MAX_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class ProjectedThreshold:
    """A threshold with `basis: Projected`."""

    at: int
    blocks: bool


@dataclass(frozen=True, slots=True)
class WebhookBudget:
    """One budget. Times are UTC seconds, 0 for none.

    Attributes:
        kinds: the kinds of workload that it is about.
        blocking_kinds: of these, the kinds that it blocks: none for a budget for each workload.
        projected: its thresholds with `basis: Projected`.
        strictness: the sort key of several budgets, the strictest first.
        used_ug: the use in the period; None if it is not known.
        acts_until: until when new work is refused.
    """

    scope: Scope
    name: str
    limit_ug: int
    kinds: frozenset[str]
    blocking_kinds: frozenset[str]
    market: bool
    operational: bool
    embodied: bool
    projected: tuple[ProjectedThreshold, ...]
    candidate: Candidate
    strictness: tuple[int, int, int, str]
    used_ug: int | None
    period_start: int
    period_end: int
    acts_until: int
    contact: str

    def counts(self, now: int) -> bool:
        """Whether its period is now. Otherwise it has no effect on new work."""
        return self.period_start <= now < self.period_end

    def blocks(self, kind: str, now: int) -> bool:
        """Whether it refuses new work of this kind."""
        return now < self.acts_until and kind in self.blocking_kinds

    def would_block(self, kind: str) -> bool:
        """Whether it would refuse new work of this kind in mode Enforce."""
        return self.candidate.action >= Action.BLOCK and kind in self.blocking_kinds

    def where(self) -> str:
        """The command that shows its status."""
        namespace = self.scope.namespace
        object_ = f"-n {namespace} describe carbonbudget" if namespace else "describe clustercarbonbudget"
        return f"see: kubectl {object_} {self.name}"


def webhook_budget(body: Mapping[str, object], cluster: bool) -> WebhookBudget:
    """Parses a budget's object. Raises ValueError (pydantic's error is one) if it is no budget."""
    found = (ClusterCarbonBudget if cluster else CarbonBudget).model_validate(body)
    meta, spec, status = found.metadata, found.spec, found.status
    include = frozenset(spec.include)
    action = next((one for one in Action if one.word == status.action), Action.NONE)
    state = State(status.state or "Unknown")
    scope = Scope(
        meta.namespace,
        spec.selector,
        found.spec.namespace_selector if isinstance(found, ClusterCarbonBudget) else None,
        spec.per == "Workload",
    )
    kinds = frozenset(spec.enforce.kinds if spec.enforce else ("Job", "Pod"))
    key, percent = f"{meta.namespace}/{meta.name}", status.percent_used or 0
    candidate = Candidate(key, action, state, percent, printable(status.message or ""))
    return WebhookBudget(
        scope=scope,
        name=meta.name,
        limit_ug=limit_in_force_ug(found),
        kinds=kinds,
        blocking_kinds=kinds if scope.refuses_new_work else frozenset(),
        market=spec.accounting == "MarketBased",
        operational=bool(include - {"Embodied"}),
        embodied="Embodied" in include,
        projected=tuple(
            ProjectedThreshold(threshold.at, threshold.action == "Block")
            for threshold in spec.thresholds or ()
            if threshold.basis == "Projected"
        ),
        candidate=candidate,
        strictness=strictness(candidate),
        used_ug=None if state is State.UNKNOWN else status.used_micrograms,
        period_start=int(status.period.start.timestamp()) if status.period else 0,
        period_end=int(status.period.end.timestamp()) if status.period else 0,
        acts_until=int(status.enforcement.until.timestamp()) if status.enforcement else 0,
        contact=printable(spec.contact),
    )


def bounded_webhook_budget(body: Mapping[str, object], cluster: bool) -> WebhookBudget | None:
    """The budget with bounded texts; None if it selects nothing that can exist. Raises ValueError."""
    found = webhook_budget(body, cluster)
    selectors = [found.scope.selector, found.scope.namespace_selector]
    if not all(selector is None or _possible(selector) for selector in selectors):
        return None
    own, namespaces = (None if selector is None else _bounded(selector) for selector in selectors)
    message = found.candidate.message[:_MAX_MESSAGE]
    scope = replace(found.scope, selector=own, namespace_selector=namespaces)
    return replace(found, scope=scope, candidate=replace(found.candidate, message=message))


def text_bytes(budget: WebhookBudget) -> int:
    """An estimate of its memory in bytes: fixed parts, message and selectors."""
    texts = [budget.candidate.message]
    for selector in (budget.scope.selector, budget.scope.namespace_selector):
        if selector is not None:
            texts += [*selector.match_labels, *selector.match_labels.values()]
            texts += [text for one in selector.match_expressions for text in (one.key, *one.values)]
    return 1_500 + sum(80 + len(text) for text in texts)


def _possible(selector: Selector) -> bool:
    """Whether an object can have the labels that it asks for."""
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
