"""Sends all questions of one evaluation to the server, and remembers up to when there are data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.question_batches import MOST_BYTES, BatchQuestions, question_bytes
from carbonbudget_operator.logs import log_action
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_log = logging.getLogger(__name__)
_QUESTIONS_AT_ONCE = 5000
_WORKLOADS_AT_ONCE = 100_000  # the server names twice as many in one answer


@dataclass(frozen=True, slots=True)
class ServerAnswers:
    """The answers by the id of their question. `through`: up to when there are data (UTC seconds), 0 for none.

    `reason` and `sentence` say why a budget has no answer. `refused`: the server's sentence for questions that it does
    not answer while it answers others, by id. `figures_through`: as BudgetAnswers has it.
    """

    through: int
    by_id: Mapping[str, BudgetAnswer]
    reason: str
    sentence: str
    refused: Mapping[str, str] = field(default_factory=dict)
    figures_through: int | None = None


class QuerySender:
    """`data_through`: up to when there were data at the last answer, in UTC seconds; 0 before the first.

    `figures_through`: up to when hours had intensities of their own then; None if the server does not distinguish that.

    `missing_since`: the latest `data_through`, and before the first answer the start of the process (`now`).
    """

    def __init__(self, server: ServerClient, metrics: ControllerMetrics, now: int) -> None:
        self._server, self._metrics = server, metrics
        self._failing = False
        self._refused_since: dict[str, int] = {}
        self.data_through, self.missing_since = 0, now
        self.figures_through: int | None = 0

    def refused_since(self, question_id: str) -> int:
        """Since when the question is refused: up to when there were data at its last answer, in UTC seconds."""
        return self._refused_since.get(question_id, self.missing_since)

    async def ask(self, queries: Sequence[BudgetQuery]) -> ServerAnswers:
        """The server's answers. That the server does not answer is logged once, until it answers again."""
        answers: dict[str, BudgetAnswer] = {}
        refused: dict[str, str] = {}
        through: list[int] = []
        figures: list[int | None] = []
        asking = BatchQuestions()
        try:
            for batch in _batches(queries):
                found = await asking.ask(batch, self._server.budgets)
                refused |= found.refused
                for body in found.answers:
                    through.append(body.data_through)
                    figures.append(body.figures_through)
                    answers |= {answer.id: answer for answer in body.answers}
            if not through:  # all were refused
                alone = await self._server.budgets([])
                through.append(alone.data_through)
                figures.append(alone.figures_through)
        except ServerUnavailable as error:
            self._metrics.failures.inc()
            if not self._failing:
                log_action(_log, "server-away", f"{error}; the last verdicts stand", level=logging.WARNING)
            self._failing = True
            return ServerAnswers(0, {}, "ServerUnavailable", error.told)
        if self._failing:
            log_action(_log, "server-back", "the server answers again")
        self._failing = False
        if not min(through):
            return ServerAnswers(0, {}, "NoReports", "no node has reported yet")
        self._refused_since = {key: self.refused_since(key) for key in refused}
        if refused:
            self._metrics.failures.inc()
        self.data_through = min(through)
        self.figures_through = min((each for each in figures if each is not None), default=None)
        self.missing_since = max(self.data_through, self.missing_since)
        sentence = "namespaces are not listed yet"
        return ServerAnswers(self.data_through, answers, "NamespacesUnknown", sentence, refused, self.figures_through)


def _batches(queries: Sequence[BudgetQuery]) -> list[list[BudgetQuery]]:
    """The questions in their order; at least one batch, because the answer says up to when there are data."""
    batches: list[list[BudgetQuery]] = [[]]
    named = size = 0
    for query in queries:
        its = question_bytes(query)
        is_full = (
            len(batches[-1]) >= _QUESTIONS_AT_ONCE
            or named + query.workloads > _WORKLOADS_AT_ONCE
            or size + its > MOST_BYTES
        )
        if batches[-1] and is_full:
            batches.append([])
            named = size = 0
        batches[-1].append(query)
        named, size = named + query.workloads, size + its
    return batches
