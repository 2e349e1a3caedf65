"""The evaluation loop: in each window, and soon after a change, it evaluates all budgets and writes what changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.api.wire_names import ENFORCED_KINDS
from carbonbudget_operator.budgets.transfers import BudgetFigures
from carbonbudget_operator.budgets.use_evaluation import EvaluationRecord
from carbonbudget_operator.budgets.verdict import EnforcementTerms, State
from carbonbudget_operator.controller.adjustment_book import AdjustmentBook
from carbonbudget_operator.controller.budget_adjusting import BudgetAdjusting
from carbonbudget_operator.controller.budget_evaluation import (
    BudgetEvaluation,
    evaluate_budget,
    evaluate_invalid,
    evaluate_without_answer,
)
from carbonbudget_operator.controller.budget_events import needs_event, post_budget_event
from carbonbudget_operator.controller.budget_queries import period_answers, period_queries
from carbonbudget_operator.controller.budget_store import BudgetStore, StoredBudget
from carbonbudget_operator.controller.credit_condition import TargetLookup, credit_condition
from carbonbudget_operator.controller.evaluation_schedule import EvaluationSchedule
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.prepared_budget import InvalidBudget, PreparedBudget, prepare_budget
from carbonbudget_operator.controller.query_sender import QuerySender, ServerAnswers
from carbonbudget_operator.controller.question_batches import refused_sentence
from carbonbudget_operator.controller.run_events import RunEvents
from carbonbudget_operator.controller.status_json import blocking_label, is_visible_change
from carbonbudget_operator.controller.status_writer import StatusWriter
from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.controller.transfer_figures import transfer_figures
from carbonbudget_operator.controller.weekly_profiles import WeeklyProfiles
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import FailureLog, log_action
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server_client import ServerClient

_Made = TypeVar("_Made")

_log = logging.getLogger(__name__)
_RUNS_A_WINDOW = 100  # two Events each: some three posts a second


@dataclass(frozen=True, slots=True)
class EvaluationInputs:
    """What the loop reads beside the server's answers; a task of its own fills each."""

    budgets: BudgetStore
    namespaces: Namespaces
    conflicts: ConflictStore


@dataclass(frozen=True, slots=True)
class _Results(Generic[_Made]):
    """The results of one step by budget key. `failed`: evaluations of the budgets for which the step failed."""

    made: dict[str, _Made]
    failed: dict[str, BudgetEvaluation]


class EvaluationLoop:
    """Evaluates all budgets in each window. `window_seconds` is the agents' window, `kinds` are the enforced kinds."""

    def __init__(
        self,
        client: KubeClient,
        server: ServerClient,
        inputs: EvaluationInputs,
        metrics: ControllerMetrics,
        window_seconds: int,
        terms: EnforcementTerms,
        now: Callable[[], float] = time.time,
        kinds: Collection[str] = ENFORCED_KINDS,
    ) -> None:
        self._kinds = kinds
        self._client, self._inputs, self._metrics = client, inputs, metrics
        self._terms, self._now = terms, now
        self._schedule = EvaluationSchedule(inputs.budgets.changed, window_seconds, now)
        again = "the next window tries again"
        self._writer = StatusWriter(client, metrics, inputs.budgets.forget, is_visible_change, "", again)
        self._questions = QuerySender(server, metrics, int(now()))
        self.adjusting = BudgetAdjusting(AdjustmentBook(server))
        self.run_events = RunEvents(client)
        self.profiles = WeeklyProfiles(server, now)
        # Finds a target that a budget credits; None until all are listed. controller/run.py sets it.
        self.targets: Callable[[], TargetLookup | None] = lambda: None
        # The last record of each budget with its uid: the watch may not have shown the last write yet.
        self._records: dict[str, tuple[str, EvaluationRecord]] = {}
        self._states: dict[str, tuple[str, State]] = {}
        self._failing_events = FailureLog()
        # Versions of budgets whose evaluation failed unexpectedly, in this evaluation and in the one before.
        self._failed: dict[str, tuple[str, object]] = {}
        self._failed_before: dict[str, tuple[str, object]] = {}

    async def run(self) -> None:
        """Runs for ever. An evaluation that fails is logged and counted, and the next window tries again."""
        while True:
            await self._schedule.next()
            try:
                await self.evaluate()
            except Exception:
                # Nothing may end the loop: a late evaluation is better than none.
                self._metrics.failures.inc()
                _log.exception("evaluation failed; the next window tries again")

    async def evaluate(self) -> None:
        """Evaluate all budgets once: prepare, ask the server, evaluate, write."""
        now = int(self._now())
        stored = self._inputs.budgets.snapshot()
        self._records = {key: record for key, record in self._records.items() if key in stored}
        self._states = {key: state for key, state in self._states.items() if key in stored}
        self._failed_before, self._failed = self._failed, {}
        with self._metrics.duration.time():
            through = self._questions.data_through or _last_data_through(stored.values())
            figures = self._questions.figures_through
            preparing = self._for_each(stored, stored, lambda key: self._prepare(stored[key], now), now)
            ready = await self.adjusting.adjusted(preparing.made, now)
            asking = self._for_each(
                stored, ready, lambda key: (ready[key], period_queries(ready[key], through, now, figures)), now
            )
            answers = ServerAnswers(0, {}, "", "")
            if asking.made:
                answers = await self._questions.ask([query for _, queries in asking.made.values() for query in queries])
            if answers.through:
                self.adjusting.report_trouble()
                self._metrics.data_through([stored[key] for key in asking.made], answers.through)
            evaluated = self._for_each(
                stored, asking.made, lambda key: self._evaluate_one(*asking.made[key], answers, now), now
            )
            prepared = {key: each for key, (each, _) in asking.made.items()}
            await self.adjusting.book_proposals(prepared)
            self.profiles.want(prepared[key] for key in evaluated.made)
            failed = preparing.failed | asking.failed | evaluated.failed
            await self._publish_all(stored, prepared, failed | evaluated.made)
        self.run_events.forget_all_but(stored)
        await self.run_events.post(_RUNS_A_WINDOW, now)
        self._metrics.evaluations.inc()
        self._metrics.forget_all_but(stored.values())
        self._inputs.conflicts.forget_all_but(stored)

    def shows_verdict(self, key: str) -> bool:
        """Whether the watch shows the budget with the verdict of this process: its last write has come back."""
        stored = self._inputs.budgets.snapshot().get(key)
        if stored is None or self._states.get(key, ("",))[0] != stored.uid:
            return False
        uid, record = self._records.get(key, ("", None))
        try:
            enforcement = stored.budget_object.status.enforcement
        except ValueError:
            return True  # the object cannot be parsed, so no write can come back
        shown_until = seconds(enforcement.until) if enforcement is not None else 0
        if record is None or uid != stored.uid:  # not valid since the start: what its status shows must be over
            return shown_until <= self._now()
        return shown_until == record.verdict.acts_until

    def transfer_figures(self) -> dict[str, BudgetFigures]:
        """The figures by which transfers between CarbonBudgets are decided, by key."""
        found = {}
        for key, stored in self._inputs.budgets.snapshot().items():
            uid, record = self._records.get(key, ("", None))
            verdict = record.verdict if record is not None and uid == stored.uid else None
            figures = transfer_figures(stored, verdict) if stored.namespace else None
            if figures is not None:
                found[key] = figures
        return found

    def _for_each(
        self, stored: Mapping[str, StoredBudget], keys: Iterable[str], step: Callable[[str], _Made], now: int
    ) -> _Results[_Made]:
        """Run a step for each budget. A budget for which it fails does not stop the others."""
        results: _Results[_Made] = _Results({}, {})
        for key in keys:
            try:
                results.made[key] = step(key)
            except InvalidBudget as error:
                results.failed[key] = evaluate_invalid(stored[key], str(error), now)
            except Exception as error:
                self._report_unexpected(stored[key], error)
                sentence = f"this budget cannot be evaluated ({type(error).__name__}): see the controller's log"
                results.failed[key] = evaluate_invalid(stored[key], sentence, now)
        return results

    def _report_unexpected(self, stored: StoredBudget, error: BaseException) -> None:
        """Count a defect of ours that one budget triggers, and log it once for each version of the budget."""
        self._metrics.failures.inc()
        if self._failed_before.get(stored.key) != stored.version and stored.key not in self._failed:
            _log.error("%s cannot be evaluated", stored.key, exc_info=error)
        self._failed[stored.key] = stored.version

    def _prepare(self, stored: StoredBudget, now: int) -> PreparedBudget:
        """The prepared budget, with the adjustments that its status shows. Raises InvalidBudget."""
        uid, record = self._records.get(stored.key, ("", None))
        remembered = record if uid == stored.uid else None
        prepared = prepare_budget(stored, now, self._inputs.namespaces, remembered, self._kinds)
        targets = self.targets() if prepared.spec.credits else None
        if targets is None:
            return prepared
        return replace(prepared, credit_condition=credit_condition(prepared.budget_object, targets))

    def _evaluate_one(
        self, prepared: PreparedBudget, queries: Sequence[BudgetQuery], answers: ServerAnswers, now: int
    ) -> BudgetEvaluation:
        """Evaluate by the server's answers; without answers, by the previous evaluation."""
        conflicts = self._inputs.conflicts
        conflict, managed = conflicts.of(prepared.key), conflicts.managed(prepared.key)
        refused = next((query.id for query in queries if query.id in answers.refused), None)
        if refused is not None:
            since, sentence = self._questions.refused_since(refused), refused_sentence(answers.refused[refused])
            return evaluate_without_answer(
                prepared, "QuestionRefused", sentence, since, conflict, now, self._terms, managed
            )
        if answers.through and prepared.namespaces is not None:
            own = period_answers(prepared, queries, answers.by_id, answers.through)
            made = evaluate_budget(prepared, own, self.profiles.week(prepared), conflict, now, self._terms, managed)
            self.adjusting.propose_adjustments(prepared, own, made.use, now, answers.figures_through)
            return made
        since = self._questions.missing_since
        return evaluate_without_answer(
            prepared, answers.reason, answers.sentence, since, conflict, now, self._terms, managed
        )

    async def _publish_all(
        self,
        stored: Mapping[str, StoredBudget],
        prepared: Mapping[str, PreparedBudget],
        evaluations: Mapping[str, BudgetEvaluation],
    ) -> None:
        publishing = [self._publish(stored[key], prepared.get(key), made) for key, made in evaluations.items()]
        results = await asyncio.gather(*publishing, return_exceptions=True)
        for key, result in zip(evaluations, results, strict=True):
            if result is not None:
                self._report_unexpected(stored[key], result)

    async def _publish(
        self, stored: StoredBudget, prepared: PreparedBudget | None, evaluation: BudgetEvaluation
    ) -> None:
        """Set the metrics, write the status, and post an Event if the state has changed."""
        record = evaluation.record
        if record is None or prepared is None:
            self._metrics.unknown(stored)
        else:
            limit_ug = prepared.budget_limit.limit_ug
            self._metrics.evaluated(stored, limit_ug, record.verdict, evaluation.use)
            children = prepared.children
            self._metrics.adjusted(stored, prepared.adjustments, None if children is None else children.allocated_ug)
        # The status comes first: a block needs both, and ends as soon as the status has none.
        label = blocking_label(stored.metadata, evaluation.blocking)
        if not await self._writer.write(stored, evaluation.status, label):
            return
        if record is not None:
            self._records[stored.key] = (stored.uid, record)
        if prepared is not None and prepared.budget_limit.per_workload:
            self._queue_run_events(stored, evaluation)
        state = record.verdict.state if record is not None else State.UNKNOWN
        uid, last = self._states.get(stored.key, ("", None))
        previous = last if uid == stored.uid else stored.state
        if needs_event(previous, state):
            was = previous or State.UNKNOWN
            sentence = f"{stored.key} is {state.value}, was {was.value}: {evaluation.message}"
            log_action(_log, "verdict", sentence, budget=stored.key, state=state.value, former=was.value)
            failing = self._failing_events
            await post_budget_event(self._client, stored, state, evaluation.message, int(self._now()), failing)
        self._states[stored.key] = (stored.uid, state)

    def _queue_run_events(self, stored: StoredBudget, evaluation: BudgetEvaluation) -> None:
        status = evaluation.status
        if "topWorkloads" not in status:  # there was no answer: the status keeps the last workloads
            return
        dropped = self.run_events.queue(stored, status.get("period"), evaluation.runs)
        dropped += self.run_events.queue_expected(stored, status.get("period"), evaluation.expected)
        if dropped:
            self._metrics.run_events_dropped.inc(dropped)


def _last_data_through(stored: Iterable[StoredBudget]) -> int:
    """The latest `dataThrough` of all statuses, in UTC seconds; 0 if there is none."""
    return max((each.data_through for each in stored), default=0)
