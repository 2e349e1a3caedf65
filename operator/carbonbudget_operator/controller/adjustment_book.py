"""What the server has booked on budgets' limits, as the controller knows it, and what it proposes to book."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from carbonbudget_operator.api.adjustment_bodies import (
    AdjustmentGroup,
    AdjustmentsAnswer,
    AdjustmentsRequest,
    AnsweredAdjustment,
    AnsweredPeriod,
    BudgetPeriod,
)
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.server_client import ServerUnavailable

_PERIODS_AT_ONCE: Final = 2_000
_GROUPS_AT_ONCE: Final = 200
_MOST_PROPOSED: Final = 20_000
_HANGS_SECONDS: Final = 5.0  # a refusal is quick; who waited so long asks nothing more
_Key = tuple[str, str, Period]


class AdjustmentServer(Protocol):
    """What the book asks; ServerClient in the controller."""

    async def adjustments(self, request: AdjustmentsRequest) -> AdjustmentsAnswer:
        """Raises ServerUnavailable."""


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
        for example by a ledger that cannot be written, the rest is read all the same.

        Raises:
            ServerUnavailable: the server does not answer, or does not book.
        """
        loop, refusal = asyncio.get_running_loop(), None
        try:
            for keys, groups in _parts(self._proposed):
                began = loop.time()
                try:
                    await self._server.adjustments(AdjustmentsRequest(groups=groups))
                except ServerUnavailable as error:
                    if loop.time() - began > _HANGS_SECONDS:
                        raise
                    refusal = error
                else:
                    for key in keys:
                        del self._proposed[key]
            found: defaultdict[_Key, list[AnsweredAdjustment]] = defaultdict(list)
            for first in range(0, len(budgets), _PERIODS_AT_ONCE):
                asked = list(budgets[first : first + _PERIODS_AT_ONCE])
                for each in (await self._server.adjustments(AdjustmentsRequest(budgets=asked))).adjustments:
                    found[_key(each.budget)].append(each)
        except ServerUnavailable as error:
            self.trouble = str(error)
            raise
        self.trouble = str(refusal or "")
        self._booked = {key: tuple(found.get(key, ())) for key in map(_key, budgets)}
        if refusal is not None:
            raise refusal


def _key(period: BudgetPeriod | AnsweredPeriod) -> _Key:
    # The server answers by the period's start alone, which a month and a week can share.
    return period.namespace, period.name, Period(period.period_start, period.period_end)


def _parts(
    proposed: dict[tuple[object, ...], AdjustmentGroup],
) -> Iterator[tuple[list[tuple[object, ...]], list[AdjustmentGroup]]]:
    keys = list(proposed)
    for first in range(0, len(keys), _GROUPS_AT_ONCE):
        part = keys[first : first + _GROUPS_AT_ONCE]
        yield part, [proposed[key] for key in part]
