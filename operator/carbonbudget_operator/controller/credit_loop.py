"""Books credits of targets' savings: first a claim for each window, then the credit that the claim names.

The ledger takes a claim once. Credits follow from the claims that the ledger has, so a controller that dies in between
books the missing ones later, and none twice.
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
from carbonbudget_operator.budgets.credits import CreditableTarget, CreditedBudget, new_claims
from carbonbudget_operator.budgets.quantity import exact_mass
from carbonbudget_operator.controller.adjustment_metrics import AdjustmentMetrics
from carbonbudget_operator.controller.adjustment_questions import AdjustmentQuestions, AdjustmentServer
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.controller.credit_proposals import (
    claim_group,
    claim_questions,
    creditable_targets,
    credited_budgets,
    credited_sums,
    missing_credits,
    read_claims,
)
from carbonbudget_operator.controller.event_posting import ObjectEvent, post_event
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import FailureLog, log_action
from carbonbudget_operator.server_client import ServerUnavailable

_log = logging.getLogger(__name__)
_ROUND_SECONDS: Final = 300.0
# A request may ask for 20,000 periods of budgets, and a budget depends on some 25.
_MOST_OF_A_NAMESPACE: Final = 500
_MOST_CLAIMS: Final = 5_000  # of one request; further ones are booked in the next round


class CreditLoop:
    """`budgets` and `targets` give what the watches show; `booked` is called after each booking."""

    def __init__(
        self,
        ledger: AdjustmentServer,
        budgets: Callable[[], Iterable[StoredBudget]],
        targets: Callable[[], Iterable[Mapping[str, object]]],
        booked: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
        client: KubeClient | None = None,
        metrics: AdjustmentMetrics | None = None,
    ) -> None:
        """`client` posts Events; without one there are none."""
        self._client, self._metrics = client, metrics or AdjustmentMetrics(CollectorRegistry())
        self._ledger, self._budgets, self._targets, self._booked, self._now = ledger, budgets, targets, booked, now
        self._failing = FailureLog()

    async def run(self) -> None:
        """Book every five minutes until cancelled. A failure is logged once and the round is repeated."""
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            try:
                await self.round()
            except Exception as error:  # any defect: the next round starts from what the ledger has
                self._metrics.failed("credits")
                if self._failing.begins("round"):
                    known = isinstance(error, ServerUnavailable)
                    _log.warning("credits wait and are tried again: %s", error, exc_info=not known)
            else:
                self._failing.ends("round")

    async def round(self) -> None:
        """Book what is due, namespace by namespace. The last failure is raised after all others."""
        budgets: dict[str, list[CreditedBudget]] = {}
        for budget in sorted(credited_budgets(self._budgets()), key=lambda one: one.name):
            budgets.setdefault(budget.space, []).append(budget)
        if not budgets:
            return
        targets: dict[str, list[CreditableTarget]] = {}
        for target in creditable_targets(self._targets()):
            targets.setdefault(target.space, []).append(target)
        failure: Exception | None = None
        for space, some in budgets.items():
            if space in targets:
                try:
                    await self._book(some[:_MOST_OF_A_NAMESPACE], targets[space], int(self._now()))
                except Exception as error:  # what is wrong with one namespace keeps no other from its credits
                    failure = error
        if failure is not None:
            raise failure

    async def _book(self, budgets: Sequence[CreditedBudget], targets: Sequence[CreditableTarget], now: int) -> None:
        questions = claim_questions(budgets, targets, now)
        if not questions:
            return
        known = await self._ask([], questions)
        claims = read_claims(known)
        sums = credited_sums(known, claims, budgets)
        # In a thread: a namespace may have many targets, and the other tasks go on meanwhile.
        if new := await asyncio.to_thread(new_claims, budgets, targets, claims, sums, now):
            known = await self._ask([claim_group(claim) for claim in new[:_MOST_CLAIMS]], questions)
            claims = read_claims(known)
        if groups := missing_credits(claims, budgets, known, now):
            credits = [group.adjustments[0] for group in groups]
            known = await self._ask(groups, list(dict.fromkeys(one.budget for one in credits)))
            booked = {one.key for one in known}
            self._booked()
            for one in credits:
                if one.key not in booked:  # its budget has a thousand rows in this period
                    continue
                where = f"{one.budget.namespace}/{one.budget.name}"
                sentence = f"{exact_mass(one.micrograms)} are credited to {where}: {one.detail}"
                log_action(_log, "credit", sentence, budget=where, source=one.source)
                self._metrics.credited(one.micrograms)
                await self._post(where, one, now)

    async def _post(self, key: str, credit: Adjustment, now: int) -> None:
        stored = next((one for one in self._budgets() if one.key == key), None)
        if self._client is None or stored is None:
            return
        period = f"{format_time(credit.budget.period_start)} to {format_time(credit.budget.period_end)}"
        sentence = f"the limit of the period {period} rises by {exact_mass(credit.micrograms)}: {credit.detail}"
        event = ObjectEvent(stored.involved, "Normal", "CreditApplied", sentence)
        await post_event(self._client, event, stored.key, now, self._failing)

    async def _ask(
        self, groups: Sequence[AdjustmentGroup], budgets: Sequence[BudgetPeriod]
    ) -> list[AnsweredAdjustment]:
        return await AdjustmentQuestions(self._ledger).book_and_read(groups, budgets)
