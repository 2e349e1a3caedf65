"""The evaluation loop: each window, and at once after a change, ask, judge, write what changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from carbonbudget_operator.api.names import BLOCKING_LABEL, BUDGET
from carbonbudget_operator.api.query import BudgetAnswer, BudgetAnswers
from carbonbudget_operator.budgets.evaluate import Verdict
from carbonbudget_operator.controller.events import tell, worth_telling
from carbonbudget_operator.controller.inventory import Body, Inventory
from carbonbudget_operator.controller.judge import (
    BadBudget,
    Case,
    Status,
    bad_budget,
    differs,
    former_verdict,
    judge,
    no_data,
    prepare,
)
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.kube.client import MERGE_PATCH, KubeClient, KubeError
from carbonbudget_operator.server_client import Server, ServerUnavailable

_log = logging.getLogger(__name__)
_DEBOUNCE_SECONDS = 0.5
_WRITES_AT_ONCE = 16


class EvaluationLoop:
    """`window_seconds` is the agents' window; verdicts come a fifth of it after its end."""

    def __init__(
        self,
        client: KubeClient,
        server: Server,
        inventory: Inventory,
        metrics: ControllerMetrics,
        window_seconds: int,
        fresh_for_seconds: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._server, self._inventory, self._metrics = client, server, inventory, metrics
        self._window_s, self._fresh_for_s, self._now = window_seconds, fresh_for_seconds, now
        # The verdict as it was written last: an echo of it may still be under way.
        self._verdicts: dict[str, Verdict] = {}
        self._writers = asyncio.Semaphore(_WRITES_AT_ONCE)
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
        try:
            await asyncio.wait_for(self._inventory.changed.wait(), due - now)
            await asyncio.sleep(_DEBOUNCE_SECONDS)  # more changes come with it: one `kubectl apply -f dir`
        except TimeoutError:
            pass
        self._inventory.changed.clear()

    async def evaluate(self) -> None:
        """Judge all budgets once."""
        now = int(self._now())
        bodies = self._inventory.bodies()
        cases: dict[str, Case] = {}
        writes: list[Awaitable[object]] = []
        for uid, body in bodies.items():
            try:
                cases[uid] = prepare(body, now)
            except BadBudget as error:
                writes.append(self._write(uid, body, bad_budget(body, str(error), now)))
        self._verdicts = {uid: verdict for uid, verdict in self._verdicts.items() if uid in bodies}
        with self._metrics.duration.time():
            answers = await self._ask(cases, bodies, now)
            if answers is not None:
                pairs = zip(cases.items(), answers.answers, strict=True)
                writes += [
                    self._settle(uid, case, bodies[uid], answer, answers.data_through, now)
                    for (uid, case), answer in pairs
                ]
            await asyncio.gather(*writes)
        self._metrics.evaluations.inc()
        self._metrics.forget_all_but(f"{c.query.id}" for c in cases.values())

    async def _ask(self, cases: dict[str, Case], bodies: dict[str, Body], now: int) -> BudgetAnswers | None:
        """The server's answers; None while there are none, after saying so in every budget."""
        if not cases:
            return None
        try:
            answers = await self._server.budgets([case.query for case in cases.values()])
            reason, sentence = "NoReports", "no node has reported yet"
            self._server_failing = False
        except ServerUnavailable as error:
            answers, reason, sentence = None, "ServerUnavailable", str(error)
            self._metrics.failures.inc()
            if not self._server_failing:  # once, until it answers again
                _log.warning("%s; the last verdicts stand", sentence)
            self._server_failing = True
        if answers is not None and answers.data_through:
            return answers
        statuses = {uid: no_data(case, reason, sentence, now) for uid, case in cases.items()}
        await asyncio.gather(*(self._write(uid, bodies[uid], status) for uid, status in statuses.items()))
        return None

    async def _settle(
        self, uid: str, case: Case, body: Body, answer: BudgetAnswer, data_through: int, now: int
    ) -> None:
        former = self._verdicts.get(uid) or former_verdict(case.resource)
        verdict, status = judge(case, answer, data_through, former, now, self._fresh_for_s)
        self._metrics.judged(case.query.id, case.budget.limit_ug, verdict)
        if await self._write(uid, body, status):
            self._verdicts[uid] = verdict
            if worth_telling(former, verdict):
                await tell(self._client, case.resource, verdict, str(status["message"]))

    async def _write(self, uid: str, body: Body, status: Status) -> bool:
        """Bring status and label to what they should be; whether the object is as judged now.

        Status first: a block holds when both say so, and is lifted as soon as the status does not.
        """
        metadata = body["metadata"]
        assert isinstance(metadata, dict)
        path = BUDGET.path(str(metadata["namespace"]), str(metadata["name"]))
        labelled = (metadata.get("labels") or {}).get(BLOCKING_LABEL) == "true"
        # A status without a word on enforcement (no data) leaves the block as it is.
        wanted = bool(status["enforcement"]) if "enforcement" in status else labelled
        try:
            async with self._writers:
                if differs(body, status):
                    patch = {"status": status}
                    await self._client.request("PATCH", path + "/status", patch, content_type=MERGE_PATCH)
                    self._metrics.patches.inc()
                if wanted != labelled:
                    label = {"metadata": {"labels": {BLOCKING_LABEL: "true" if wanted else None}}}
                    await self._client.request("PATCH", path, label, content_type=MERGE_PATCH)
                    self._metrics.patches.inc()
        except KubeError as error:
            if error.status == 404:
                self._inventory.forget(uid)
            else:
                self._metrics.failures.inc()
                _log.warning("%s not updated, the next window tries again: %s", path, error.reason)
            return False
        return True
