"""Decides a review from the caches and the rules. It makes no request, so that an answer takes microseconds."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from carbonbudget_core.jsons import at, text
from carbonbudget_operator.admission.admission_decision import AdmissionDecision, Mode, cut, decide_review
from carbonbudget_operator.admission.budget_cache import BudgetCache
from carbonbudget_operator.admission.check_command_figures import check_figures
from carbonbudget_operator.admission.projection_cache import ProjectionCache
from carbonbudget_operator.admission.review_parser import Review
from carbonbudget_operator.admission.reviewed_work import ReviewedWork, work_of
from carbonbudget_operator.admission.run_label_warnings import label_warnings
from carbonbudget_operator.admission.webhook_budget import WebhookBudget
from carbonbudget_operator.admission.workload_cache import WorkloadCache
from carbonbudget_operator.admission.workload_growth import growth
from carbonbudget_operator.admission.workload_kinds import WorkloadKind, WorkloadKinds
from carbonbudget_operator.api.kubernetes_event import InvolvedObject
from carbonbudget_operator.budgets.coverage import Covers, selects
from carbonbudget_operator.budgets.expected_emissions import NoExpectation

ALLOWED = AdmissionDecision()
_STRICTEST_FIRST = attrgetter("strictness")
# A Scale has no pod labels, only the workload's own selector in `status.selector`.
_EQUALS = re.compile(r"([^\s=!,()]+)\s*==?\s*([^\s=!,()]*)")
_TOO_LARGE = "is too large to be read, so that no selector can leave it out: make it smaller"


class ReviewHandler:
    """Decides reviews. `mode` is the setting enforcement.mode."""

    def __init__(
        self, kinds: WorkloadKinds, budgets: BudgetCache, workloads: WorkloadCache, table: ProjectionCache, mode: Mode
    ) -> None:
        self._kinds, self._budgets, self._workloads = kinds, budgets, workloads
        self._table, self._mode = table, mode

    def decide(self, review: Review, now: int) -> AdmissionDecision:
        """Returns the decision on the review at `now` (UTC seconds)."""
        workload_kind = self._kinds.get(review.resource)
        budgets = self._budgets.of(review.namespace, now)
        if workload_kind is None or (not budgets and not review.asks):
            return ALLOWED
        grows = growth(review, workload_kind) if review.operation == "UPDATE" else ""
        if review.operation == "UPDATE" and not grows:
            return ALLOWED
        if review.subresource == "scale":
            work, selected = self._scaled(review, workload_kind, budgets)
        else:
            work = work_of(review, workload_kind)
            selected = [b for b in budgets if selects(b.scope.selector, work.labels) is Covers.YES]
        if grows:  # evaluated only where a budget asks for it
            selected = [budget for budget in selected if workload_kind.kind in budget.kinds]

        selected.sort(key=_STRICTEST_FIRST)
        expected = functools.partial(self._table.expected, work, review.namespace, now)
        decision = decide_review(work, selected, expected, grows, self._mode, now)
        if not review.asks or grows:
            return decision
        return replace(decision, figures=check_figures(work, selected, budgets, expected, decision, self._mode))

    def with_label_warnings(self, review: Review, decision: AdmissionDecision) -> AdmissionDecision:
        """The decision with warnings about the labels of runs and models on new work."""
        workload_kind = self._kinds.get(review.resource)
        if workload_kind is None or review.operation != "CREATE" or decision.refusal or self._mode == "Observe":
            return decision
        about_labels = label_warnings(review.object, workload_kind)
        return replace(decision, warnings=[*decision.warnings, *map(cut, about_labels)]) if about_labels else decision

    def decide_by_head(self, review: Review, now: int) -> AdmissionDecision:
        """The decision on a review of which only the beginning was read, so that its labels are not known.

        It is refused if a budget blocks that kind in the namespace, whatever the budget selects: otherwise a large
        object would pass every block. Each UPDATE is growth, because the matchConditions select no other.
        """
        workload_kind = self._kinds.get(review.resource)
        if workload_kind is None:
            return ALLOWED
        budgets = [budget for budget in self._budgets.of(review.namespace, now) if workload_kind.kind in budget.kinds]
        budgets.sort(key=_STRICTEST_FIRST)
        work = ReviewedWork(
            workload_kind=workload_kind,
            name=review.name or "without a name yet",
            about=InvolvedObject(workload_kind.api_version, workload_kind.kind, review.name, review.namespace),
        )
        return decide_review(work, budgets, lambda _: NoExpectation.NO_PODS, _TOO_LARGE, self._mode, now)

    def _scaled(
        self, review: Review, workload_kind: WorkloadKind, budgets: Sequence[WebhookBudget]
    ) -> tuple[ReviewedWork, list[WebhookBudget]]:
        """The workload of a Scale, and the budgets that cover it: by its pod labels, else by the Scale's selector."""
        found = self._workloads.find(workload_kind, review.namespace, review.name)
        labels = found.labels if found is not None else None
        if labels is not None:
            selected = [b for b in budgets if selects(b.scope.selector, labels) is Covers.YES]
        else:
            known = _known_labels(text(at(review.object, "status").get("selector")))
            # A workload that was created a moment ago is not in the cache: what its selector leaves open passes. Labels
            # that are too many to be cached do not exclude a workload from a budget.
            counted = (Covers.YES,) if found is None else (Covers.YES, Covers.NOT_KNOWN)
            selected = [b for b in budgets if selects(b.scope.selector, known, whole=False) in counted]
        work = ReviewedWork(
            workload_kind=workload_kind,
            name=review.name,
            about=InvolvedObject(
                workload_kind.api_version,
                workload_kind.kind,
                review.name,
                review.namespace,
                text(at(review.object, "metadata").get("uid")),
            ),
            exempt=found is not None and found.exempt,
            labels=labels or {},
        )
        return work, selected


def _known_labels(selector: str) -> dict[str, str]:
    """Labels that each pod of a selector such as "app=web,tier in (a,b)" has: those of its equalities."""
    terms = re.split(r",(?![^(]*\))", selector)
    return {match[1]: match[2] for term in terms if (match := _EQUALS.fullmatch(term.strip())) is not None}
