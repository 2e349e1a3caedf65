"""From a review to a decision: the one place where caches, table and rules meet. It waits for nothing."""

from __future__ import annotations

from collections.abc import Sequence

from carbonbudget_operator.admission.caches import Budgets, Workloads
from carbonbudget_operator.admission.decide import Decision, Mode, decide
from carbonbudget_operator.admission.review import Review, at, text
from carbonbudget_operator.admission.selecting import decided, known_labels
from carbonbudget_operator.admission.shapes import Shape, Shapes
from carbonbudget_operator.admission.table import Table
from carbonbudget_operator.admission.view import BudgetView
from carbonbudget_operator.admission.work import Reference, Work, growth, work_of
from carbonbudget_operator.budgets.expectation import Expected

ALLOWED = Decision()


class Judge:
    """`mode` as enforcement.mode has it."""

    def __init__(self, shapes: Shapes, budgets: Budgets, workloads: Workloads, table: Table, mode: Mode) -> None:
        self._shapes, self._budgets, self._workloads = shapes, budgets, workloads
        self._table, self._mode = table, mode

    def judge(self, review: Review, now: int) -> Decision:
        """What the review is answered at `now` (UTC seconds)."""
        shape = self._shapes.get(review.resource)
        budgets = self._budgets.of(review.namespace)
        if shape is None or not budgets:
            return ALLOWED
        grows = growth(review, shape) if review.operation == "UPDATE" else ""
        if review.operation == "UPDATE" and not grows:
            return ALLOWED
        if review.subresource == "scale":
            work, selected = self._scaled(review, shape, budgets)
        else:
            work = work_of(review, shape)
            selected = [b for b in budgets if b.selector is None or b.selector.matches(work.labels)]
        if grows:  # judged only where a budget asks for it
            selected = [budget for budget in selected if work.kind in budget.kinds]

        def expected(budget: BudgetView) -> Expected | None:
            return self._table.expected(work, review.namespace, budget, now)

        return decide(work, selected, expected, grows, self._mode, now)

    def _scaled(self, review: Review, shape: Shape, budgets: Sequence[BudgetView]) -> tuple[Work, list[BudgetView]]:
        """By the workload's own labels where they are known, else by what the Scale's selector settles."""
        found = self._workloads.find(shape, review.namespace, review.name)
        if found is not None:
            selected = [b for b in budgets if b.selector is None or b.selector.matches(found.labels)]
        else:
            known = known_labels(text(at(review.object, "status").get("selector")))
            selected = [b for b in budgets if decided(b.selector, known) is True]
        work = Work(
            kind=shape.kind,
            name=review.name,
            exempt=found is not None and found.exempt,
            labels=found.labels if found is not None else {},
            about=Reference(shape.api_version, shape.kind, review.name, text(at(review.object, "metadata").get("uid"))),
            workload=f"{shape.kind}/{review.name}",
            instance_type="",
            plan=None,
        )
        return work, selected
