"""Sends all questions of one evaluation to the server, and remembers up to when there are data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.logs import log_action
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_log = logging.getLogger(__name__)
_QUESTIONS_AT_ONCE = 5000
_WORKLOADS_AT_ONCE = 100_000  # the server names twice as many in one answer


@dataclass(frozen=True, slots=True)
class ServerAnswers:
    """The answers by the id of their question. `through`: up to when there are data (UTC seconds), 0 for none.

    `reason` and `sentence` say why a budget has no answer.
    """

    through: int
    by_id: Mapping[str, BudgetAnswer]
    reason: str
    sentence: str


class QuerySender:
    """`data_through`: up to when there were data at the last answer, in UTC seconds; 0 before the first.

    `missing_since`: the latest `data_through`, and before the first answer the start of the process (`now`).
    """

    def __init__(self, server: ServerClient, metrics: ControllerMetrics, now: int) -> None:
        self._server, self._metrics = server, metrics
        self._failing = False
        self.data_through, self.missing_since = 0, now

    async def ask(self, queries: Sequence[BudgetQuery]) -> ServerAnswers:
        """The server's answers. That the server does not answer is logged once, until it answers again."""
        answers: dict[str, BudgetAnswer] = {}
        through: list[int] = []
        try:
            for batch in _batches(queries):
                body = await self._server.budgets(batch)
                through.append(body.data_through)
                answers |= {answer.id: answer for answer in body.answers}
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
        self.data_through = min(through)
        self.missing_since = max(self.data_through, self.missing_since)
        return ServerAnswers(self.data_through, answers, "NamespacesUnknown", "namespaces are not listed yet")


def _batches(queries: Sequence[BudgetQuery]) -> list[list[BudgetQuery]]:
    """The questions in their order; at least one batch, because the answer says up to when there are data."""
    batches: list[list[BudgetQuery]] = [[]]
    named = 0
    for query in queries:
        if len(batches[-1]) >= _QUESTIONS_AT_ONCE or named + query.workloads > _WORKLOADS_AT_ONCE:
            batches.append([])
            named = 0
        batches[-1].append(query)
        named += query.workloads
    return batches
