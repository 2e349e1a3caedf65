"""Adjusts the limits of all budgets before an evaluation, and books what their periods' ends and overspend demand."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from carbonbudget_operator.api.adjustment_bodies import AdjustmentGroup, AnsweredAdjustment
from carbonbudget_operator.budgets.adjustments import AppliedChange, is_closed_into
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.quantity import QuantityError
from carbonbudget_operator.budgets.use_evaluation import UseEvaluation
from carbonbudget_operator.controller.adjustment_book import AdjustmentBook
from carbonbudget_operator.controller.budget_queries import PeriodAnswers
from carbonbudget_operator.controller.period_closing import (
    CLOSES_AFTER_S,
    Booked,
    asked_periods,
    closing_group,
    counting_group,
    is_complete,
    is_followed,
    moved_groups,
    overspend_group,
    period_to_close,
)
from carbonbudget_operator.controller.prepared_budget import ChildBudgets, PreparedBudget, with_adjustments
from carbonbudget_operator.logs import log_action
from carbonbudget_operator.server_client import ServerUnavailable

_log = logging.getLogger(__name__)


class BudgetAdjusting:
    """`book` is what the server has booked. Transfers and credits propose to the same book."""

    def __init__(self, book: AdjustmentBook) -> None:
        self.book = book
        # By key, the uid of each budget and its overspend that is too small a step to be booked: it is booked if the
        # budget is deleted, also if another one is there under its name by the next evaluation.
        self._unbooked: dict[str, tuple[str, AdjustmentGroup]] = {}
        self._reported = False

    async def adjusted(self, prepared: Mapping[str, PreparedBudget], now: int) -> dict[str, PreparedBudget]:
        """The budgets with the adjustments of their periods, their children, and the period that each has to close.

        Of a budget whose adjustments the server has not answered, those that its status shows stay.
        """
        for key in [key for key in self._unbooked if key not in prepared]:
            self.book.propose(self._unbooked.pop(key)[1])
        await self._refresh(prepared)
        made = {key: self._one(each, now) for key, each in prepared.items()}
        limits: defaultdict[str, list[int]] = defaultdict(list)
        for key, each in made.items():
            parent = f"/{each.spec.parent}"
            if each.spec.parent and parent != key and not each.budget_limit.per_workload:
                limits[parent].append(each.budget_limit.limit_ug)
        for key in limits.keys() & made.keys():
            made[key] = replace(made[key], children=ChildBudgets(len(limits[key]), sum(limits[key])))
        return made

    def propose_adjustments(
        self,
        prepared: PreparedBudget,
        answers: PeriodAnswers,
        use: UseEvaluation | None,
        now: int,
        figures_through: int | None = None,
    ) -> None:
        """Propose what the answers about a budget show: how its last period ended, and its overspend so far.

        `figures_through`: as BudgetAnswers has it.
        """
        booked, current = self._booked(prepared), prepared.budget_limit.period
        if not self._knows(prepared, current):
            return
        for group in moved_groups(prepared, booked):
            self.book.propose(group)
        if (counting := counting_group(prepared, booked)) is not None:
            self.book.propose(counting)
        closing = period_to_close(prepared, booked)
        if closing is not None and self._knows(prepared, closing[0]):
            period, after = closing
            answer = answers.previous.get(period)
            followed = is_followed(prepared, period, booked)
            through, asked = answers.reported.data_through, prepared.period_to_close == period
            complete = answer is not None and is_complete(period, answer, through, figures_through, now)
            if not followed or (asked and complete):
                try:
                    group = closing_group(prepared, period, after, answer if followed else None, booked)
                    self.book.propose(group)
                except QuantityError as error:
                    _log.warning("%s: its period cannot be closed: %s", prepared.key, error)
        self._propose_overspend(prepared, use, booked)

    def _propose_overspend(self, prepared: PreparedBudget, use: UseEvaluation | None, booked: Booked) -> None:
        current = prepared.budget_limit.period
        uid, waits = self._unbooked.get(prepared.key, ("", None))
        if waits is not None and uid != prepared.stored.uid:
            self.book.propose(waits)
        elif (
            waits is not None
            and waits.adjustments[0].budget.period_start == current.start
            and waits.adjustments[0].budget.period_end == current.end
            and not is_closed_into(booked(current))
        ):
            return  # of the last period: closing it books this, unless the budget is deleted before
        self._unbooked.pop(prepared.key, None)
        if use is None:
            return
        if (step := overspend_group(prepared, use, booked)) is not None:
            self.book.propose(step)
        elif (rest := overspend_group(prepared, use, booked, final=True)) is not None:
            self._unbooked[prepared.key] = prepared.stored.uid, rest

    async def book_proposals(self, prepared: Mapping[str, PreparedBudget]) -> None:
        """Book what was proposed, so that the next evaluation goes by it."""
        if self.book.proposes:
            await self._refresh(prepared)

    def report_trouble(self) -> None:
        """Log that adjustments cannot be read while questions about budgets are answered; once, until they can."""
        trouble = self.book.trouble
        if trouble and not self._reported:
            sentence = f"adjustments of limits cannot be read, those known hold: {trouble}"
            log_action(_log, "adjustments-unknown", sentence, level=logging.WARNING)
        self._reported = bool(trouble)

    def _one(self, prepared: PreparedBudget, now: int) -> PreparedBudget:
        current, booked = prepared.budget_limit.period, self._booked(prepared)
        if not self._knows(prepared, current):
            return replace(prepared, is_closing_known=prepared.budget_limit.per_workload)
        made = with_adjustments(prepared, [_change(each) for each in booked(current)])
        closing = period_to_close(prepared, booked)
        if closing is None or now < closing[0].end + CLOSES_AFTER_S or not is_followed(prepared, closing[0], booked):
            return made
        return replace(made, period_to_close=closing[0])

    async def _refresh(self, prepared: Mapping[str, PreparedBudget]) -> None:
        try:
            asked = [period for each in prepared.values() for period in asked_periods(each, self._booked(each))]
            await self.book.refresh(asked)
        except ServerUnavailable:
            pass  # what is known holds; the book has the reason

    def _booked(self, prepared: PreparedBudget) -> Booked:
        stored = prepared.stored

        def of(period: Period) -> Sequence[AnsweredAdjustment]:
            return self.book.booked(stored.namespace, stored.name, period)

        return of

    def _knows(self, prepared: PreparedBudget, period: Period) -> bool:
        return self.book.knows(prepared.stored.namespace, prepared.stored.name, period)


def _change(each: AnsweredAdjustment) -> AppliedChange:
    return AppliedChange(each.reason, each.source, each.micrograms, each.detail)
