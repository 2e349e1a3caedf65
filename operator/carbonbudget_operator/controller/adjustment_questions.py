"""Requests about adjustments, divided as all questions of the controller are: what is refused fails alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from carbonbudget_operator.api.adjustment_bodies import (
    AdjustmentGroup,
    AdjustmentsAnswer,
    AdjustmentsRequest,
    AnsweredAdjustment,
    BudgetPeriod,
)
from carbonbudget_operator.controller.question_batches import BatchQuestions
from carbonbudget_operator.server_client import QuestionRefused

PERIODS_AT_ONCE: Final = 2_000
GROUPS_AT_ONCE: Final = 200


class AdjustmentServer(Protocol):
    """Who books and answers; ServerClient in the controller."""

    async def adjustments(self, request: AdjustmentsRequest) -> AdjustmentsAnswer:
        """Raises ServerUnavailable."""


@dataclass(frozen=True, slots=True)
class _Numbered:
    """One group or period; `id` is its place among those asked for."""

    id: str
    group: AdjustmentGroup | None = None
    budget: BudgetPeriod | None = None

    def model_dump(self, *, by_alias: bool) -> dict[str, Any]:
        """As it is sent."""
        its = self.group or self.budget
        return its.model_dump(by_alias=by_alias) if its is not None else {}


class AdjustmentQuestions:
    """The requests of one evaluation or round: how often they are divided is bounded for all of them together."""

    def __init__(self, server: AdjustmentServer) -> None:
        self._server, self._asking = server, BatchQuestions()

    async def book(self, groups: Sequence[AdjustmentGroup]) -> dict[int, str]:
        """Book the groups; why some are refused, by their place. Raises ServerUnavailable."""
        _, refused = await self._ask([_Numbered(str(n), group=group) for n, group in enumerate(groups)])
        return refused

    async def read(self, budgets: Sequence[BudgetPeriod]) -> tuple[list[AnsweredAdjustment], dict[int, str]]:
        """What is booked, in the order of the periods; why some are refused, by place. Raises ServerUnavailable."""
        found: list[AnsweredAdjustment] = []
        refused: dict[int, str] = {}
        for first in range(0, len(budgets), PERIODS_AT_ONCE):
            part = budgets[first : first + PERIODS_AT_ONCE]
            rows, not_answered = await self._ask([_Numbered(str(first + n), budget=one) for n, one in enumerate(part)])
            found += rows
            refused |= not_answered
        return found, refused

    async def book_and_read(
        self, groups: Sequence[AdjustmentGroup], budgets: Sequence[BudgetPeriod]
    ) -> list[AnsweredAdjustment]:
        """Book the groups, then read the periods.

        Raises:
            ServerUnavailable: there is no answer, or a part is refused: what is not known might be booked already.
        """
        not_booked = await self.book(groups) if groups else {}
        found, not_read = await self.read(budgets)
        if refused := [*not_booked.values(), *not_read.values()]:
            raise QuestionRefused(refused[0])
        return found

    async def _ask(self, asked: Sequence[_Numbered]) -> tuple[list[AnsweredAdjustment], dict[int, str]]:
        made = await self._asking.ask(asked, self._send)
        refused = {int(number): reason for number, reason in made.refused.items()}
        return [row for answer in made.answers for row in answer.adjustments], refused

    async def _send(self, part: Sequence[_Numbered]) -> AdjustmentsAnswer:
        groups = [one.group for one in part if one.group is not None]
        budgets = [one.budget for one in part if one.budget is not None]
        return await self._server.adjustments(AdjustmentsRequest(groups=groups, budgets=budgets))
