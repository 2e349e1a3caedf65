"""The target loop: evaluates each target when a new hour is reported, and soon after its spec changes.

Once a minute it asks the server up to when there are data. One question follows for all targets that are due. A target
that cannot be evaluated stops no other, and nothing here refuses anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from carbonbudget_operator.api.target_query_bodies import TargetAnswer, TargetQuery
from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.evaluation_schedule import EvaluationSchedule
from carbonbudget_operator.controller.prepared_target import InvalidTarget, PreparedTarget, prepare_target
from carbonbudget_operator.controller.question_batches import BatchQuestions, refused_sentence
from carbonbudget_operator.controller.target_evaluation import (
    TargetEvaluation,
    evaluate_invalid_target,
    evaluate_target,
    evaluate_target_without_answer,
)
from carbonbudget_operator.controller.target_history import SavingsPrice, no_price
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_queries import (
    AskedSpans,
    TargetSource,
    batches_of,
    frozen_in,
    spans_to_ask,
)
from carbonbudget_operator.controller.target_store import StoredTarget, TargetStore
from carbonbudget_operator.controller.target_writer import TargetWriter, needs_target_event
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import log_action
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server_client import ServerUnavailable
from carbonbudget_operator.targets.target_verdict import TargetState
from carbonbudget_operator.targets.target_windows import HOUR_S, whole_hour

_EVERY_SECONDS: Final = 60
_AT_ONCE: Final = 2000  # targets in one request
_PUBLISHED_AT_ONCE: Final = 200
_AGAIN_SECONDS: Final = 600  # for a target of which hours are missing
_DAY_HOURS: Final = 24

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Done:
    """What is remembered of a target between evaluations.

    `version`: the spec that was evaluated last, None to evaluate it again. `hour`: up to which data. `at`: when.
    `frozen`: a baseline that the watch may not have shown yet. `empty`: calendar windows without a figure.
    `state`: the state that Events have told. `told`: the spec of which the status says why there is no answer.
    """

    uid: str
    version: tuple[str, object] | None = None
    hour: int = 0
    at: float = 0.0
    incomplete: bool = False
    frozen: FrozenBaseline | None = None
    empty: frozenset[Period] = frozenset()
    state: TargetState | None = None
    told: tuple[tuple[str, object], str] | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    prepared: PreparedTarget
    frozen: FrozenBaseline | None
    spans: AskedSpans


class TargetLoop:
    """Evaluates targets. `source` is the server; `every_seconds` is the shortest time between two evaluations.

    `price` says what savings are worth.
    """

    def __init__(
        self,
        client: KubeClient,
        source: TargetSource,
        store: TargetStore,
        namespaces: Namespaces,
        metrics: TargetMetrics,
        now: Callable[[], float] = time.time,
        every_seconds: int = _EVERY_SECONDS,
        price: SavingsPrice = no_price,
    ) -> None:
        self._source, self._store, self._namespaces, self._metrics = source, store, namespaces, metrics
        self._now, self._price = now, price
        self._schedule = EvaluationSchedule(store.changed, every_seconds, now, floor_seconds=float(every_seconds))
        self._writer = TargetWriter(client, store, metrics)
        self._done: dict[str, _Done] = {}
        self._away = False
        self._failed: set[tuple[str, tuple[str, object]]] = set()

    async def run(self) -> None:
        """Runs for ever. An evaluation that fails is logged and counted, and the next minute tries again."""
        while True:
            await self._schedule.next()
            try:
                await self.evaluate()
            except Exception:
                # Nothing may end the loop: a late evaluation is better than none.
                self._metrics.failures.inc()
                _log.exception("the evaluation of targets failed; the next minute tries again")

    async def evaluate(self) -> None:
        """Evaluate the targets that are due: prepare, ask the server, evaluate, write."""
        stored = self._store.snapshot()
        self._done = {
            key: self._done[key] if key in self._done and self._done[key].uid == one.uid else _Done(one.uid)
            for key, one in stored.items()
        }
        self._metrics.forget_all_but(stored.values())
        if not stored:
            return
        now = int(self._now())
        with self._metrics.duration.time():
            try:
                through = (await self._source.targets([])).data_through
            except ServerUnavailable as error:
                made = await self._without_server(stored, stored, error, now)
            else:
                if through:
                    made = await self._by_server(stored, through, now)
                else:
                    self._server_back()
                    made = await self._unanswered(stored, stored, "NoReports", "no node has reported yet", now)
            await self._publish_all(stored, made, now)
        self._metrics.evaluations.inc()

    async def _by_server(
        self, stored: Mapping[str, StoredTarget], through: int, now: int
    ) -> dict[str, TargetEvaluation]:  # fmt: skip
        """Evaluations of the targets that are due, but those that were published here already."""
        due = [key for key, one in stored.items() if self._is_due(one, whole_hour(through), now)]
        prepared, made = await self._prepare(stored, due, now)
        for one in made:
            done = self._done[one]
            done.version, done.hour, done.at, done.incomplete = stored[one].version, whole_hour(through), now, True
        asked: dict[str, _Asked] = {}
        queries: list[TargetQuery] = []
        for key, each in prepared.items():
            try:
                asked[key] = self._spans(each, through)
                queries.append(asked[key].spans.query(each))
            except Exception as error:
                made[key] = self._unexpected(stored[key], error, now)
        is_answered = True
        asking = BatchQuestions()
        for batch in batches_of(queries, _AT_ONCE):
            try:
                found = await asking.ask(batch, self._source.targets)
            except ServerUnavailable as error:
                made |= await self._without_server(stored, [query.id for query in batch], error, now)
                is_answered = False
                continue
            evaluated: dict[str, TargetEvaluation] = {}
            for answer in (one for answers in found.answers for one in answers.answers):
                evaluated[answer.id] = self._evaluate_one(asked[answer.id], answer, through, now)
                await asyncio.sleep(0)
            for key, reason in found.refused.items():
                self._metrics.failures.inc()
                evaluated |= await self._unanswered(stored, [key], "QuestionRefused", refused_sentence(reason), now)
            await self._publish_all(stored, evaluated, now)  # the next request may take long
        if is_answered:
            self._server_back()
        return made

    async def _prepare(
        self, stored: Mapping[str, StoredTarget], keys: Iterable[str], now: int
    ) -> tuple[dict[str, PreparedTarget], dict[str, TargetEvaluation]]:
        """The targets that can be asked about, and the evaluations of those that are invalid."""
        prepared: dict[str, PreparedTarget] = {}
        failed: dict[str, TargetEvaluation] = {}
        for key in keys:
            await asyncio.sleep(0)  # budgets are evaluated in the same event loop
            one = stored[key]
            try:
                made = prepare_target(one, self._namespaces, now)
                if made.namespaces is not None:  # else they are listed in a moment
                    prepared[key] = made
            except InvalidTarget as error:
                failed[key] = evaluate_invalid_target(one, str(error), now)
            except Exception as error:
                failed[key] = self._unexpected(one, error, now)
        return prepared, failed

    def _is_due(self, one: StoredTarget, hour: int, now: int) -> bool:
        done = self._done[one.key]
        if done.version != one.version or hour > done.hour:
            return True
        return done.incomplete and now - done.at >= _AGAIN_SECONDS

    def _spans(self, prepared: PreparedTarget, through: int) -> _Asked:
        done = self._done[prepared.key]
        frozen = frozen_in(prepared, done.frozen)
        # Once a day, at an hour of its own: a long span of a thousand targets costs the server something.
        restates = (through // HOUR_S + crc32(prepared.stored.uid.encode())) % _DAY_HOURS == 0
        return _Asked(prepared, frozen, spans_to_ask(prepared, frozen, through, restates, done.empty))

    def _evaluate_one(self, asked: _Asked, answer: TargetAnswer, through: int, now: int) -> TargetEvaluation:
        stored = asked.prepared.stored
        try:
            answers = asked.spans.answers(answer)
            made = evaluate_target(asked.prepared, asked.frozen, asked.spans, answers, through, now, self._price)
        except Exception as error:
            return self._unexpected(stored, error, now)
        done = self._done[stored.key]
        # With a new baseline its history is asked for next.
        done.version = stored.version if not made.newly_frozen else None
        done.hour, done.at, done.told = whole_hour(through), now, None
        done.incomplete, done.frozen = made.incomplete, made.frozen
        done.empty = frozenset(one for one in done.empty | made.empty if one in asked.spans.shown)
        return made

    async def _without_server(
        self, stored: Mapping[str, StoredTarget], keys: Iterable[str], error: ServerUnavailable, now: int
    ) -> dict[str, TargetEvaluation]:
        """Evaluations while the server does not answer. It is logged once, until it answers again."""
        self._metrics.failures.inc()
        if not self._away:
            log_action(_log, "server-away", f"{error}; targets keep their last state", level=logging.WARNING)
        self._away = True
        return await self._unanswered(stored, keys, "ServerUnavailable", error.told, now)

    async def _unanswered(
        self, stored: Mapping[str, StoredTarget], keys: Iterable[str], reason: str, sentence: str, now: int
    ) -> dict[str, TargetEvaluation]:
        """Evaluations without an answer, of the targets that do not say so yet. They are due with the next answer."""
        untold = [key for key in keys if self._done[key].told != (stored[key].version, reason)]
        prepared, made = await self._prepare(stored, untold, now)
        made |= {key: evaluate_target_without_answer(one, reason, sentence, now) for key, one in prepared.items()}
        for key in made:
            self._done[key].told = (stored[key].version, reason)
            self._done[key].version = None
        return made

    def _unexpected(self, stored: StoredTarget, error: Exception, now: int) -> TargetEvaluation:
        """Count a defect of ours that one target triggers, and log it once for each version of the target."""
        self._metrics.failures.inc()
        if (stored.key, stored.version) not in self._failed:
            _log.error("target %s cannot be evaluated", stored.key, exc_info=error)
        if len(self._failed) > _AT_ONCE:
            self._failed.clear()
        self._failed.add((stored.key, stored.version))
        sentence = f"this target cannot be evaluated ({type(error).__name__}): see the controller's log"
        return evaluate_invalid_target(stored, sentence, now)

    async def _publish_all(
        self, stored: Mapping[str, StoredTarget], made: Mapping[str, TargetEvaluation], now: int
    ) -> None:
        waiting = list(made)
        for first in range(0, len(waiting), _PUBLISHED_AT_ONCE):
            keys = waiting[first : first + _PUBLISHED_AT_ONCE]
            results = await asyncio.gather(
                *(self._publish(stored[key], made[key], now) for key in keys), return_exceptions=True
            )
            for key, result in zip(keys, results, strict=True):
                if isinstance(result, BaseException):
                    self._metrics.failures.inc()
                    _log.error("target %s not updated", key, exc_info=result)
                    self._done[key].version = self._done[key].told = None

    async def _publish(self, stored: StoredTarget, made: TargetEvaluation, now: int) -> None:
        """Set the metrics, write the status, and post Events if the state has changed or a baseline was computed."""
        if "observedGeneration" in made.status:
            self._metrics.evaluated(stored, made)
        else:
            self._metrics.not_evaluated(stored, made.state)
        done = self._done[stored.key]
        if not await self._writer.write(stored, made.status):
            done.version = done.told = None  # the next minute tries again
            return
        if made.newly_frozen and made.frozen is not None:
            sentence = (
                f"the baseline is {made.frozen.per_unit} CO2e {made.per_unit}; it stays until selector, include, "
                "accounting, unit or baseline of the spec are edited"
            )
            await self._writer.post_baseline(stored, sentence, now)
        previous = done.state or _state_in(stored)
        if needs_target_event(previous, made.state):
            was = previous.value if previous is not None else "new"
            sentence = f"target {stored.key} is {made.state.value}, was {was}: {made.message}"
            log_action(_log, "target", sentence, target=stored.key, state=made.state.value, former=was)
            await self._writer.post(stored, made.state, made.message, now)
        done.state = made.state

    def _server_back(self) -> None:
        if self._away:
            log_action(_log, "server-back", "the server answers again about targets")
        self._away = False


def _state_in(stored: StoredTarget) -> TargetState | None:
    """The state that its status shows; None before the first."""
    status = stored.body.get("status")
    word = status.get("state") if isinstance(status, dict) else None
    return next((state for state in TargetState if state.value == word), None)
