"""The target loop: evaluates each target when a new hour is reported, and soon after its spec changes.

Once a minute it asks the server up to when there are data. One question follows for all targets that are due. A target
that cannot be evaluated stops no other, and nothing here refuses anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from carbonbudget_operator.api.target_query_bodies import TargetAnswer, TargetQuery
from carbonbudget_operator.api.target_status import FrozenBaseline
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
from carbonbudget_operator.controller.target_memory import TargetMemory
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_publisher import TargetPublisher
from carbonbudget_operator.controller.target_queries import (
    AskedSpans,
    TargetSource,
    batches_of,
    frozen_in,
    spans_to_ask,
)
from carbonbudget_operator.controller.target_store import StoredTarget, TargetStore
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import log_action
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server_client import ServerUnavailable
from carbonbudget_operator.targets.target_windows import HOUR_S

_EVERY_SECONDS: Final = 60
_AT_ONCE: Final = 2000  # targets in one request
_DAY_HOURS: Final = 24

_log = logging.getLogger(__name__)


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
        self._publisher = TargetPublisher(client, store, metrics)
        self._memory: dict[str, TargetMemory] = {}
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
        before = self._memory
        self._memory = {
            key: kept if (kept := before.get(key)) is not None and kept.uid == one.uid else TargetMemory(one.uid)
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
            await self._publisher.publish_all(stored, made, self._memory, now)
        self._metrics.evaluations.inc()

    async def _by_server(
        self, stored: Mapping[str, StoredTarget], through: int, now: int
    ) -> dict[str, TargetEvaluation]:  # fmt: skip
        """Evaluations of the targets that are due, but those that were published here already."""
        due = [key for key, one in stored.items() if self._memory[key].is_due(one, through, now)]
        prepared, made = await self._prepare(stored, due, now)
        for one in made:
            self._memory[one].failed(stored[one], through, now)
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
            for answer, methods in ((one, answers.methods) for answers in found.answers for one in answers.answers):
                evaluated[answer.id] = self._evaluate_one(asked[answer.id], answer, methods, through, now)
                await asyncio.sleep(0)
            for key, reason in found.refused.items():
                self._metrics.failures.inc()
                evaluated |= await self._unanswered(stored, [key], "QuestionRefused", refused_sentence(reason), now)
            await self._publisher.publish_all(stored, evaluated, self._memory, now)  # the next request may take long
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

    def _spans(self, prepared: PreparedTarget, through: int) -> _Asked:
        remembered = self._memory[prepared.key]
        frozen = frozen_in(prepared, remembered.frozen)
        # Once a day, at an hour of its own: a long span of a thousand targets costs the server something.
        restates = (through // HOUR_S + crc32(prepared.stored.uid.encode())) % _DAY_HOURS == 0
        return _Asked(prepared, frozen, spans_to_ask(prepared, frozen, through, restates, remembered.empty))

    def _evaluate_one(
        self, asked: _Asked, answer: TargetAnswer, methods: Sequence[Sequence[str]], through: int, now: int
    ) -> TargetEvaluation:
        stored = asked.prepared.stored
        try:
            answers = asked.spans.answers(answer, methods)
            made = evaluate_target(asked.prepared, asked.frozen, asked.spans, answers, through, now, self._price)
        except Exception as error:
            return self._unexpected(stored, error, now)
        self._memory[stored.key].evaluated(stored, made, asked.spans, through, now)
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
        untold = [key for key in keys if self._memory[key].told != (stored[key].version, reason)]
        prepared, made = await self._prepare(stored, untold, now)
        made |= {key: evaluate_target_without_answer(one, reason, sentence, now) for key, one in prepared.items()}
        for key in made:
            self._memory[key].unanswered(stored[key], reason)
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

    def _server_back(self) -> None:
        if self._away:
            log_action(_log, "server-back", "the server answers again about targets")
        self._away = False
