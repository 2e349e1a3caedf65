"""The evaluation loop: each window, and at once after a change, ask, judge, write what changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from carbonbudget_operator.api.query import BudgetAnswer, BudgetQuery
from carbonbudget_operator.budgets.assess import Standing
from carbonbudget_operator.budgets.evaluate import State, Terms
from carbonbudget_operator.controller.asking import answered, questions
from carbonbudget_operator.controller.case import BadBudget, Case, prepare
from carbonbudget_operator.controller.conflicts import Conflicts
from carbonbudget_operator.controller.events import tell, worth_telling
from carbonbudget_operator.controller.inventory import Held, Inventory
from carbonbudget_operator.controller.judge import Judgement, bad_budget, judge, judge_without_answer
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.profiles import Profiles
from carbonbudget_operator.controller.writing import Writer
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.namespaces import Namespaces
from carbonbudget_operator.server_client import Server, ServerUnavailable

_log = logging.getLogger(__name__)
_DEBOUNCE_SECONDS = 0.5
_QUESTIONS_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Seen:
    """What the loop judges by beside the server's answers; each is filled by a task of its own."""

    inventory: Inventory
    namespaces: Namespaces
    conflicts: Conflicts


class EvaluationLoop:
    """`window_seconds` is the agents' window; verdicts come a fifth of it after its end."""

    def __init__(
        self,
        client: KubeClient,
        server: Server,
        seen: Seen,
        metrics: ControllerMetrics,
        window_seconds: int,
        terms: Terms,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._server, self._seen, self._metrics = client, server, seen, metrics
        self._window_s, self._terms, self._now = window_seconds, terms, now
        self._writer = Writer(client, seen.inventory, metrics)
        self.profiles = Profiles(server, now)
        # How each budget stood when it was judged last, with its uid: an echo of the write may still be under way.
        self._standings: dict[str, tuple[str, Standing]] = {}
        self._states: dict[str, tuple[str, State]] = {}
        self._data_through = 0
        self._missing_since = int(now())  # a controller that starts beside its server is patient first
        self._server_failing = False

    async def run(self) -> None:
        """For ever; an evaluation that fails is logged and counted, and the next one comes."""
        while True:
            await self._wait()
            try:
                await self.evaluate()
            except Exception:
                # Nothing here may end the loop: a budget that is judged late is better than none.
                self._metrics.failures.inc()
                _log.exception("evaluation failed; the next window tries again")

    async def _wait(self) -> None:
        """Until a fifth of a window after its end, or until a budget changed."""
        delay = self._window_s / 5
        now = self._now()
        due = ((now - delay) // self._window_s + 1) * self._window_s + delay
        changed = self._seen.inventory.changed
        try:
            await asyncio.wait_for(changed.wait(), due - now)
            await asyncio.sleep(_DEBOUNCE_SECONDS)  # more changes come with it: one `kubectl apply -f dir`
        except TimeoutError:
            pass
        changed.clear()

    async def evaluate(self) -> None:
        """Judge all budgets once."""
        now = int(self._now())
        held = self._seen.inventory.held()
        self._standings = {key: kept for key, kept in self._standings.items() if key in held}
        self._states = {key: kept for key, kept in self._states.items() if key in held}
        with self._metrics.duration.time():
            cases, bad = self._prepared(held, now)
            self.profiles.want(cases.values())
            judged = await self._judged(cases, now)
            await asyncio.gather(*(self._settle(held[key], cases.get(key), j) for key, j in (bad | judged).items()))
        self._metrics.evaluations.inc()
        self._metrics.forget_all_but(held.values())
        self._seen.conflicts.forget_all_but(held)

    def _prepared(self, held: Mapping[str, Held], now: int) -> tuple[dict[str, Case], dict[str, Judgement]]:
        cases: dict[str, Case] = {}
        bad: dict[str, Judgement] = {}
        for key, one in held.items():
            uid, standing = self._standings.get(key, ("", None))
            try:
                cases[key] = prepare(one, now, self._seen.namespaces, standing if uid == one.uid else None)
            except BadBudget as error:
                bad[key] = bad_budget(one, str(error), now)
        return cases, bad

    async def _judged(self, cases: Mapping[str, Case], now: int) -> dict[str, Judgement]:
        """By the server's answers; while there are none, by what is known."""
        if not cases:
            return {}
        conflicts, terms = self._seen.conflicts, self._terms
        self._data_through = self._data_through or _last_data(cases)
        asked = {key: questions(case, self._data_through, now) for key, case in cases.items()}
        reason, sentence = "NoReports", "no node has reported yet"
        try:
            through, found = await self._answers([query for one in asked.values() for query in one.all()])
            self._server_failing = False
        except ServerUnavailable as error:
            reason, sentence, through, found = "ServerUnavailable", str(error), 0, {}
            self._metrics.failures.inc()
            if not self._server_failing:  # once, until it answers again
                _log.warning("%s; the last verdicts stand", sentence)
            self._server_failing = True
        if through:
            self._data_through, self._missing_since = through, max(through, self._missing_since)
            self._metrics.data_through((case.held for case in cases.values()), through)
        judged = {}
        for key, case in cases.items():
            conflict = conflicts.of(key)
            if through and case.namespaces is not None:
                one = answered(case, asked[key], found, through)
                judged[key] = judge(case, one, self.profiles.week(case), conflict, now, terms)
            else:
                why = (reason, sentence) if not through else ("NamespacesUnknown", "namespaces are not listed yet")
                judged[key] = judge_without_answer(case, *why, self._missing_since, conflict, now, terms)
        return judged

    async def _answers(self, queries: Sequence[BudgetQuery]) -> tuple[int, dict[str, BudgetAnswer]]:
        """Up to when there are data, and the answers by question. Raises ServerUnavailable."""
        through: list[int] = []
        found: dict[str, BudgetAnswer] = {}
        for start in range(0, max(1, len(queries)), _QUESTIONS_AT_ONCE):
            answers = await self._server.budgets(queries[start : start + _QUESTIONS_AT_ONCE])
            through.append(answers.data_through)
            found |= {answer.id: answer for answer in answers.answers}
        return min(through), found

    async def _settle(self, held: Held, case: Case | None, judgement: Judgement) -> None:
        standing = judgement.standing
        if standing is None or case is None:
            self._metrics.unknown(held)
        else:
            self._metrics.judged(held, case.budget.limit_ug, standing.verdict, judgement.forecast_ug, judgement.lost)
        if not await self._writer.write(held, judgement.outcome):
            return
        if standing is not None:
            self._standings[held.key] = (held.uid, standing)
        state = standing.verdict.state if standing is not None else State.UNKNOWN
        uid, former = self._states.get(held.key, ("", None))
        if worth_telling(former if uid == held.uid else held.state, state):
            await tell(self._client, held, state, judgement.message, int(self._now()))
        self._states[held.key] = (held.uid, state)


def _last_data(cases: Mapping[str, Case]) -> int:
    """Up to when there were data when a status was written last; 0 if none was."""
    times = (case.resource.status.data_through for case in cases.values())
    return max((int(at.timestamp()) for at in times if at is not None), default=0)
