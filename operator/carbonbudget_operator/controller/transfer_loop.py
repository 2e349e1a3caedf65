"""Decides CarbonTransfers, books them in the ledger, and writes their statuses and Events.

Each transfer is decided once, in the order of creation. Before it is booked, its status gets the period in which it
will count. So a controller that is started again finds in the ledger whether a transfer was booked, also if a budget
was deleted or the period ended meanwhile. The ledger books a transfer once, by its uid, however often it is sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from carbonbudget_operator.api.adjustment_bodies import (
    Adjustment,
    AdjustmentGroup,
    AnsweredAdjustment,
    BudgetPeriod,
)
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import TRANSFER
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.quantity import exact_mass
from carbonbudget_operator.budgets.transfers import (
    BudgetFigures,
    PendingTransfer,
    TransferDecision,
    TransferOutcome,
    applied_message,
    decide_transfers,
)
from carbonbudget_operator.controller.adjustment_metrics import AdjustmentMetrics
from carbonbudget_operator.controller.adjustment_questions import AdjustmentQuestions, AdjustmentServer
from carbonbudget_operator.controller.transfer_events import post_transfer_events
from carbonbudget_operator.controller.transfer_store import StoredTransfer, TransferStore
from carbonbudget_operator.kube.client import MERGE_PATCH, KubeClient, KubeError
from carbonbudget_operator.kube.watch_restart import keep_following
from carbonbudget_operator.logs import FailureLog, LogRateLimit, log_action
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server_client import ServerUnavailable

_log = logging.getLogger(__name__)
_WRITES_AT_ONCE: Final = 16
_ROUND_SECONDS: Final = 15.0  # while some wait
_PAUSE_SECONDS: Final = 1.0  # so that transfers that are created together are decided together
_MAX_DETAIL: Final = 256
_LINES_A_SECOND: Final = 10


class TransferLoop:
    """`evaluations` gives the budgets' present figures by namespace/name. `booked` is called after each booking."""

    def __init__(
        self,
        client: KubeClient,
        ledger: AdjustmentServer,
        evaluations: Callable[[], Mapping[str, BudgetFigures]],
        booked: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
        metrics: AdjustmentMetrics | None = None,
    ) -> None:
        self._metrics = metrics or AdjustmentMetrics(CollectorRegistry())
        self._client, self._ledger, self._evaluations, self._booked, self._now = (
            client,
            ledger,
            evaluations,
            booked,
            now,
        )
        self.transfers = TransferStore(now)
        self._failing, self._lines = FailureLog(), LogRateLimit(_LINES_A_SECOND)
        self._writes = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def follow(self) -> None:
        """Watch the transfers until cancelled; a watch that fails begins again."""
        client = self._client
        await keep_following(client, TRANSFER.collection, lambda: self.transfers.follow(client))

    async def run(self) -> None:
        """Decide until cancelled. A failure is logged once and the round is repeated."""
        while True:
            try:
                async with asyncio.timeout(_ROUND_SECONDS if self.transfers.snapshot() else None):
                    await self.transfers.changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(_PAUSE_SECONDS)
            self.transfers.changed.clear()
            try:
                await self.round()
            except Exception as error:  # any defect: the next round starts from what the API server and the ledger have
                self._metrics.failed("transfers")
                if self._failing.begins("round"):
                    expected = isinstance(error, (ServerUnavailable, KubeError))
                    _log.warning("transfers wait and are tried again: %s", error, exc_info=not expected)
            else:
                self._failing.ends("round")
            self._metrics.waiting(len(self.transfers.snapshot()))

    async def round(self) -> None:
        """Decide all that wait. Raises ServerUnavailable."""
        stored = self.transfers.snapshot()
        unreadable = [one for one in stored if one.pending is None]
        refused = (TransferDecision(TransferOutcome.REFUSED, one.defect) for one in unreadable)
        await asyncio.gather(*map(self._finish, unreadable, refused, [{}] * len(unreadable)))
        by_uid = {one.uid: one for one in stored if one.pending is not None}
        if not by_uid:
            return
        figures = self._evaluations()
        pending = [one.pending for one in by_uid.values() if one.pending is not None]
        known = await self._ask([], _periods(pending, figures))
        finished = {uid: of for uid, of in _booked_transfers(known).items() if uid in by_uid}
        await self._finish_booked(by_uid, finished, figures)
        waiting = [one for one in pending if one.uid not in finished]
        decided = decide_transfers(waiting, figures, _sums(known), int(self._now()))
        applied = [one for one in decided if one[1].outcome is TransferOutcome.APPLIED]
        claimed = await asyncio.gather(*(self._claim(by_uid[one.uid], decision) for one, decision in applied))
        groups = [
            _group(by_uid[one.uid], one, decision.period)
            for (one, decision), ours in zip(applied, claimed, strict=True)
            if ours and decision.period is not None
        ]
        if groups:
            legs = [leg.budget for group in groups for leg in group.adjustments]
            booked = _booked_transfers(await self._ask(groups, dict.fromkeys(legs)))
            self._booked()
            # The answer names earlier transfers of these budgets too: they have been finished above.
            await self._finish_booked(by_uid, {uid: of for uid, of in booked.items() if uid not in finished}, figures)
        others = [(one, decision) for one, decision in decided if decision.outcome is not TransferOutcome.APPLIED]
        await asyncio.gather(*(self._finish(by_uid[one.uid], decision, figures) for one, decision in others))

    async def _ask(
        self, groups: Sequence[AdjustmentGroup], budgets: Iterable[BudgetPeriod]
    ) -> Sequence[AnsweredAdjustment]:
        return await AdjustmentQuestions(self._ledger).book_and_read(groups, list(budgets))

    async def _finish_booked(
        self, by_uid: Mapping[str, StoredTransfer], booked: Mapping[str, Period], figures: Mapping[str, BudgetFigures]
    ) -> None:
        finished = [(by_uid[uid], period) for uid, period in booked.items() if uid in by_uid]
        decisions = [
            (one, TransferDecision(TransferOutcome.APPLIED, applied_message(one.pending), period))
            for one, period in finished
            if one.pending is not None
        ]
        await asyncio.gather(*(self._finish(one, decision, figures) for one, decision in decisions))

    async def _claim(self, stored: StoredTransfer, decision: TransferDecision) -> bool:
        """Write the period of the booking that follows. Returns whether the transfer is still there."""
        assert decision.period is not None
        assert stored.pending is not None
        if stored.pending.claimed == decision.period:
            self.transfers.claims(stored.uid, decision.period)
            return True
        period = {"periodStart": format_time(decision.period.start), "periodEnd": format_time(decision.period.end)}
        if not await self._patch(stored, period):
            return False
        self.transfers.claims(stored.uid, decision.period)
        return True

    async def _finish(
        self, stored: StoredTransfer, decision: TransferDecision, figures: Mapping[str, BudgetFigures]
    ) -> None:
        """Write the decision; of one that waits, why it does."""
        if decision.outcome is TransferOutcome.WAITS:
            if stored.message != decision.message:
                await self._patch(stored, {"message": decision.message})
            return
        now = int(self._now())
        status: dict[str, object] = {
            "state": decision.outcome.value,
            "message": printable(decision.message, 1024),
            "decidedAt": format_time(now),
        }
        if decision.period is not None:
            status["periodStart"] = format_time(decision.period.start)
            status["periodEnd"] = format_time(decision.period.end)
        if not await self._patch(stored, status):
            return
        self.transfers.decided(stored.uid)
        self._metrics.decided(decision.outcome)
        if (suppressed := self._lines.admit(self._now())) is not None:
            where, state = f"{stored.namespace}/{stored.name}", decision.outcome.value
            sentence = f"transfer {where}: {decision.message}"
            uid = stored.uid
            log_action(_log, "transfer", sentence, transfer=where, uid=uid, state=state, suppressed=suppressed)
        async with self._writes:
            await post_transfer_events(self._client, stored, decision, figures, now, self._failing)

    async def _patch(self, stored: StoredTransfer, status: Mapping[str, object]) -> bool:
        """Write fields of the status. Returns whether they were written; a transfer that is gone is forgotten.

        The write names the uid, so a transfer that was created again under this name is not written to.
        """
        body = {"metadata": {"uid": stored.uid}, "status": status}
        try:
            async with self._writes:
                await self._client.send("PATCH", stored.path.sub("status"), body, content_type=MERGE_PATCH)
        except KubeError as error:
            if error.status in (404, 409):
                self.transfers.forget(stored.uid)
            elif self._failing.begins(stored.uid):
                where = f"{stored.namespace}/{stored.name}"
                _log.warning("the status of transfer %s is not written and is tried again: %s", where, error.reason)
            return False
        self._failing.ends(stored.uid)
        return True


def _periods(pending: Iterable[PendingTransfer], figures: Mapping[str, BudgetFigures]) -> list[BudgetPeriod]:
    """The budgets and periods that the decisions depend on, each once."""
    found: dict[BudgetPeriod, None] = {}
    for transfer in pending:
        for budget in (transfer.source, transfer.receiver):
            periods = [figures[budget].period] if budget in figures else []
            for period in [*periods, *([transfer.claimed] if transfer.claimed is not None else [])]:
                found[_budget_period(budget, period)] = None
    return list(found)


def _budget_period(budget: str, period: Period) -> BudgetPeriod:
    namespace, _, name = budget.partition("/")
    return BudgetPeriod(namespace=namespace, name=name, period_start=period.start, period_end=period.end)


def _booked_transfers(adjustments: Iterable[AnsweredAdjustment]) -> dict[str, Period]:
    """The period of each transfer that is booked, by its uid."""
    return {
        one.source: Period(one.budget.period_start, one.budget.period_end)
        for one in adjustments
        if one.reason == "TransferOut"
    }


def _sums(adjustments: Iterable[AnsweredAdjustment]) -> dict[tuple[str, Period], int]:
    sums: dict[tuple[str, Period], int] = {}
    for one in adjustments:
        key = f"{one.budget.namespace}/{one.budget.name}", Period(one.budget.period_start, one.budget.period_end)
        sums[key] = sums.get(key, 0) + one.micrograms
    return sums


def _group(stored: StoredTransfer, transfer: PendingTransfer, period: Period) -> AdjustmentGroup:
    """Both sides of a transfer; the key of each is the transfer's uid."""
    amount = exact_mass(transfer.amount_ug)
    said = f"CarbonTransfer {stored.namespace}/{stored.name}, {amount} from {transfer.source} to {transfer.receiver}"
    detail = printable(said + (f": {stored.reason}" if stored.reason else ""), _MAX_DETAIL)
    out = Adjustment(
        budget=_budget_period(transfer.source, period),
        reason="TransferOut",
        source=transfer.uid,
        micrograms=-transfer.amount_ug,
        detail=detail,
    )
    into = out.model_copy(
        update={
            "budget": _budget_period(transfer.receiver, period),
            "reason": "TransferIn",
            "micrograms": transfer.amount_ug,
        }
    )
    return AdjustmentGroup(adjustments=[out, into])
