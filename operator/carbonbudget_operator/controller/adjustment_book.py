"""What the server has booked on budgets' limits, as the controller knows it, and what it proposes to book."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from carbonbudget_operator.api.adjustment_bodies import (
    AdjustmentGroup,
    AnsweredAdjustment,
    AnsweredPeriod,
    BudgetPeriod,
)
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.adjustment_questions import (
    GROUPS_AT_ONCE,
    AdjustmentQuestions,
    AdjustmentServer,
)
from carbonbudget_operator.server_client import QuestionRefused, ServerUnavailable

_MOST_PROPOSED: Final = 20_000
_HANGS_SECONDS: Final = 5.0  # a refusal is quick; who waited so long asks nothing more
_Key = tuple[str, str, Period]


class AdjustmentBook:
    """Asked once a window for all budgets, and again after proposals. The server's answer replaces what was known.

    `trouble`: why the last request failed; empty if it did not.
    """

    def __init__(self, server: AdjustmentServer) -> None:
        self._server = server
        self._booked: dict[_Key, tuple[AnsweredAdjustment, ...]] | None = None
        self._proposed: dict[tuple[object, ...], AdjustmentGroup] = {}
        self.trouble = ""

    @property
    def proposes(self) -> bool:
        """Whether something is to be booked with the next request."""
        return bool(self._proposed)

    def booked(self, namespace: str, name: str, period: Period) -> Sequence[AnsweredAdjustment]:
        """What is booked for a budget and a period, in the order of booking; empty where that is not known."""
        return (self._booked or {}).get((namespace, name, period), ())

    def knows(self, namespace: str, name: str, period: Period) -> bool:
        """Whether the server has answered what is booked for a budget and a period."""
        return self._booked is not None and (namespace, name, period) in self._booked

    def known(self) -> bool:
        """Whether the server has answered since the start. While it has not, the limits of the statuses hold."""
        return self._booked is not None

    def propose(self, group: AdjustmentGroup) -> None:
        """Book a group with the next request. Proposing it again changes nothing, also after it was booked."""
        if len(self._proposed) < _MOST_PROPOSED:  # the rest is proposed again by the next evaluation
            self._proposed.setdefault(tuple(each.key for each in group.adjustments), group)

    async def refresh(self, budgets: Sequence[BudgetPeriod]) -> None:
        """Book what is proposed, then read what is booked for these budgets and periods.

        What is known of other periods is forgotten. On failure all stays as it was. Where a booking alone is refused,
        for example by a ledger that cannot be written, the rest is read all the same. So it is where the server does
        not answer about some periods: what was known of these stays.

        Raises:
            ServerUnavailable: the server does not answer, or does not book, or refuses a period.
        """
        loop = asyncio.get_running_loop()
        asking, refusal = AdjustmentQuestions(self._server), None
        try:
            for keys, groups in _parts(self._proposed):
                began = loop.time()
                try:
                    not_booked = await asking.book(groups)
                except ServerUnavailable as error:
                    if loop.time() - began > _HANGS_SECONDS:
                        raise
                    refusal = error
                else:
                    for place, key in enumerate(keys):
                        if place in not_booked:
                            refusal = QuestionRefused(not_booked[place])
                        else:
                            del self._proposed[key]
            rows, not_read = await asking.read(budgets)
        except ServerUnavailable as error:
            self.trouble = str(error)
            raise
        found: defaultdict[_Key, list[AnsweredAdjustment]] = defaultdict(list)
        for each in rows:
            found[_key(each.budget)].append(each)
        former = self._booked or {}
        unread = {_key(budgets[place]) for place in not_read}
        if not_read:
            refusal = QuestionRefused(next(iter(not_read.values())))
        self.trouble = str(refusal or "")
        self._booked = {
            key: former[key] if key in unread else tuple(found.get(key, ()))
            for key in map(_key, budgets)
            if key not in unread or key in former
        }
        if refusal is not None:
            raise refusal


def _key(period: BudgetPeriod | AnsweredPeriod) -> _Key:
    # The server answers by the period's start alone, which a month and a week can share.
    return period.namespace, period.name, Period(period.period_start, period.period_end)


def _parts(
    proposed: dict[tuple[object, ...], AdjustmentGroup],
) -> Iterator[tuple[list[tuple[object, ...]], list[AdjustmentGroup]]]:
    keys = list(proposed)
    for first in range(0, len(keys), GROUPS_AT_ONCE):
        part = keys[first : first + GROUPS_AT_ONCE]
        yield part, [proposed[key] for key in part]
