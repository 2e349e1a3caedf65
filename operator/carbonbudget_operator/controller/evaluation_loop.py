"""The evaluation loop: each window, and at once after a change, ask, judge, write what changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from carbonbudget_operator.api.query_bodies import BudgetAnswer, BudgetQuery
from carbonbudget_operator.api.resource_names import JUDGED_KINDS
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.assessment import EvaluationRecord
from carbonbudget_operator.budgets.evaluate import EnforcementTerms, State
from carbonbudget_operator.controller.budget_evaluation import (
    BudgetEvaluation,
    evaluate_budget,
    evaluate_invalid,
    evaluate_without_answer,
)
from carbonbudget_operator.controller.budget_events import needs_event, post_budget_event
from carbonbudget_operator.controller.budget_store import BudgetStore, StoredBudget
from carbonbudget_operator.controller.budget_writer import BudgetWriter
from carbonbudget_operator.controller.conflicts import ConflictStore
from carbonbudget_operator.controller.evaluation_schedule import EvaluationSchedule
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.prepared_budget import InvalidBudget, PreparedBudget, prepare_budget
from carbonbudget_operator.controller.query_batch import PeriodQueries, period_answers, period_queries
from carbonbudget_operator.controller.run_events import RunEvents
from carbonbudget_operator.controller.weekly_profiles import WeeklyProfiles
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import FailureLog, log_action
from carbonbudget_operator.namespaces import Namespaces
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_Made = TypeVar("_Made")

_log = logging.getLogger(__name__)
_QUESTIONS_AT_ONCE = 5000
_WORKLOADS_AT_ONCE = 100_000  # the server names twice as many in one answer
_RUNS_A_WINDOW = 100  # two Events each: some three posts a second


@dataclass(frozen=True, slots=True)
class EvaluationInputs:
    """What the loop judges by beside the server's answers; each is filled by a task of its own."""

    inventory: BudgetStore
    namespaces: Namespaces
    conflicts: ConflictStore


@dataclass(frozen=True, slots=True)
class _Known:
    """The answers by question, and up to when there are data; 0 for none. `reason` says why a budget has none."""

    through: int
    answers: Mapping[str, BudgetAnswer]
    reason: str
    sentence: str


class EvaluationLoop:
    """`window_seconds` is the agents' window, `kinds` are the workloads that the cluster judges."""

    def __init__(
        self,
        client: KubeClient,
        server: ServerClient,
        seen: EvaluationInputs,
        metrics: ControllerMetrics,
        window_seconds: int,
        terms: EnforcementTerms,
        now: Callable[[], float] = time.time,
        kinds: Collection[str] = JUDGED_KINDS,
    ) -> None:
        self._kinds = kinds
        self._client, self._server, self._seen, self._metrics = client, server, seen, metrics
        self._terms, self._now = terms, now
        self._rounds = EvaluationSchedule(seen.inventory.changed, window_seconds, now)
        self._writer = BudgetWriter(client, seen.inventory, metrics)
        self.run_events = RunEvents(client)
        self.profiles = WeeklyProfiles(server, now)
        # How each budget stood when it was judged last, with its uid: an echo of the write may still be under way.
        self._standings: dict[str, tuple[str, EvaluationRecord]] = {}
        self._states: dict[str, tuple[str, State]] = {}
        self._data_through = 0
        self._missing_since = int(now())  # a controller that starts beside its server is patient first
        self._server_failing, self._failing = False, FailureLog()
        # Versions of budgets that could not be judged for a defect of ours, in this evaluation and in the one before.
        self._odd: dict[str, tuple[str, object]] = {}
        self._odd_before: dict[str, tuple[str, object]] = {}

    async def run(self) -> None:
        """For ever; an evaluation that fails is logged and counted, and the next one comes."""
        while True:
            await self._rounds.next()
            try:
                await self.evaluate()
            except Exception:
                # Nothing here may end the loop: a budget that is judged late is better than none.
                self._metrics.failures.inc()
                _log.exception("evaluation failed; the next window tries again")

    async def evaluate(self) -> None:
        """Judge all budgets once."""
        now = int(self._now())
        held = self._seen.inventory.held()
        self._standings = {key: kept for key, kept in self._standings.items() if key in held}
        self._states = {key: kept for key, kept in self._states.items() if key in held}
        self._odd_before, self._odd = self._odd, {}
        with self._metrics.duration.time():
            cases, bad = self._each(held, held, lambda key: self._case(held[key], now), now)
            self._data_through = self._data_through or _last_data(cases)
            asked, odd = self._each(held, cases, lambda key: period_queries(cases[key], self._data_through, now), now)
            known = await self._known([cases[key].held for key in asked], asked.values())
            judged, unjudged = self._each(held, asked, lambda key: self._judge(cases[key], asked[key], known, now), now)
            self.profiles.want(cases[key] for key in judged)
            await self._settle_all(held, cases, bad | odd | judged | unjudged)
        self.run_events.forget_all_but(held)
        await self.run_events.post(_RUNS_A_WINDOW, now)
        self._metrics.evaluations.inc()
        self._metrics.forget_all_but(held.values())
        self._seen.conflicts.forget_all_but(held)

    def shows_verdict(self, key: str) -> bool:
        """Whether the watch shows the budget as it was judged here: no status of a former process, no late echo."""
        held = self._seen.inventory.held().get(key)
        if held is None or self._states.get(key, ("",))[0] != held.uid:
            return False
        uid, standing = self._standings.get(key, ("", None))
        block_until = standing.verdict.block_until if standing is not None and uid == held.uid else 0
        try:
            enforcement = held.budget.status.enforcement
        except ValueError:
            return True  # nobody can read it, so there is nothing to wait for
        return (seconds(enforcement.until) if enforcement is not None else 0) == block_until

    def _each(
        self, held: Mapping[str, StoredBudget], keys: Iterable[str], make: Callable[[str], _Made], now: int
    ) -> tuple[dict[str, _Made], dict[str, BudgetEvaluation]]:
        """What is made of each, and verdicts on those of which nothing can be: no budget holds up another."""
        made: dict[str, _Made] = {}
        bad: dict[str, BudgetEvaluation] = {}
        for key in keys:
            try:
                made[key] = make(key)
            except InvalidBudget as error:
                bad[key] = evaluate_invalid(held[key], str(error), now)
            except Exception as error:
                self._unforeseen(held[key], error)
                sentence = f"this budget cannot be judged ({type(error).__name__}): the controller's log says more"
                bad[key] = evaluate_invalid(held[key], sentence, now)
        return made, bad

    def _unforeseen(self, held: StoredBudget, error: BaseException) -> None:
        """A defect of ours, which one budget brought to light: counted, and logged once for each version of it."""
        self._metrics.failures.inc()
        if self._odd_before.get(held.key) != held.version and held.key not in self._odd:
            _log.error("%s cannot be judged", held.key, exc_info=error)
        self._odd[held.key] = held.version

    def _case(self, held: StoredBudget, now: int) -> PreparedBudget:
        uid, standing = self._standings.get(held.key, ("", None))
        return prepare_budget(held, now, self._seen.namespaces, standing if uid == held.uid else None, self._kinds)

    async def _known(self, held: Sequence[StoredBudget], asked: Iterable[PeriodQueries]) -> _Known:
        """What the server says, or why it says nothing."""
        if not held:
            return _Known(0, {}, "", "")
        try:
            through, answers = await self._answers([query for one in asked for query in one.all()])
            if self._server_failing:
                log_action(_log, "server-back", "the server answers again")
            self._server_failing = False
        except ServerUnavailable as error:
            self._metrics.failures.inc()
            if not self._server_failing:  # once, until it answers again
                log_action(_log, "server-away", f"{error}; the last verdicts stand", level=logging.WARNING)
            self._server_failing = True
            return _Known(0, {}, "ServerUnavailable", str(error))
        if not through:
            return _Known(0, {}, "NoReports", "no node has reported yet")
        self._data_through, self._missing_since = through, max(through, self._missing_since)
        self._metrics.data_through(held, through)
        return _Known(through, answers, "NamespacesUnknown", "namespaces are not listed yet")

    def _judge(self, case: PreparedBudget, asked: PeriodQueries, known: _Known, now: int) -> BudgetEvaluation:
        """By the server's answers; while there are none, by what was known."""
        conflict, managed = self._seen.conflicts.of(case.key), self._seen.conflicts.managed(case.key)
        if known.through and case.namespaces is not None:
            one = period_answers(case, asked, known.answers, known.through)
            return evaluate_budget(case, one, self.profiles.week(case), conflict, now, self._terms, managed)
        since = self._missing_since
        return evaluate_without_answer(case, known.reason, known.sentence, since, conflict, now, self._terms, managed)

    async def _answers(self, queries: Sequence[BudgetQuery]) -> tuple[int, dict[str, BudgetAnswer]]:
        """Up to when there are data, and the answers by question. Raises ServerUnavailable."""
        through: list[int] = []
        found: dict[str, BudgetAnswer] = {}
        for part in _parts(queries):
            answers = await self._server.budgets(part)
            through.append(answers.data_through)
            found |= {answer.id: answer for answer in answers.answers}
        return min(through), found

    def _take_runs(self, held: StoredBudget, judgement: BudgetEvaluation) -> None:
        status = judgement.outcome.status
        if "topWorkloads" not in status:  # nothing was answered: what was written last stands
            return
        if dropped := self.run_events.take(held, status.get("period"), judgement.runs):
            self._metrics.run_events_dropped.inc(dropped)

    async def _settle_all(
        self,
        held: Mapping[str, StoredBudget],
        cases: Mapping[str, PreparedBudget],
        judged: Mapping[str, BudgetEvaluation],
    ) -> None:
        settling = [self._settle(held[key], cases.get(key), judgement) for key, judgement in judged.items()]
        results = await asyncio.gather(*settling, return_exceptions=True)
        for key, result in zip(judged, results, strict=True):
            if result is not None:
                self._unforeseen(held[key], result)

    async def _settle(self, held: StoredBudget, case: PreparedBudget | None, judgement: BudgetEvaluation) -> None:
        standing = judgement.standing
        if standing is None or case is None:
            self._metrics.unknown(held)
        else:
            self._metrics.judged(held, case.budget.limit_ug, standing.verdict, judgement.forecast_ug, judgement.lost)
        if not await self._writer.write(held, judgement.outcome):
            return
        if standing is not None:
            self._standings[held.key] = (held.uid, standing)
        if case is not None and case.budget.per_workload:
            self._take_runs(held, judgement)
        state = standing.verdict.state if standing is not None else State.UNKNOWN
        uid, former = self._states.get(held.key, ("", None))
        if needs_event(former if uid == held.uid else held.state, state):
            former_state = (former if uid == held.uid else held.state) or State.UNKNOWN
            sentence = f"{held.key} is {state.value}, was {former_state.value}: {judgement.message}"
            log_action(_log, "verdict", sentence, budget=held.key, state=state.value, former=former_state.value)
            await post_budget_event(self._client, held, state, judgement.message, int(self._now()), self._failing)
        self._states[held.key] = (held.uid, state)


def _parts(queries: Sequence[BudgetQuery]) -> list[list[BudgetQuery]]:
    """In the order of the questions; there is one part at least, for the instant up to which there are data."""
    parts: list[list[BudgetQuery]] = [[]]
    named = 0
    for query in queries:
        if len(parts[-1]) >= _QUESTIONS_AT_ONCE or named + query.workloads > _WORKLOADS_AT_ONCE:
            parts.append([])
            named = 0
        parts[-1].append(query)
        named += query.workloads
    return parts


def _last_data(cases: Mapping[str, PreparedBudget]) -> int:
    """Up to when there were data when a status was written last; 0 if none was."""
    times = (case.resource.status.data_through for case in cases.values())
    return max((seconds(at) for at in times if at is not None), default=0)
