"""Whether a transfer between two budgets is applied, refused or waits. Pure: micrograms, UTC seconds, no I/O.

A transfer takes from the limit of one budget what it adds to the limit of the other, so the sum of the limits stays. It
is decided once, in the order of creation, by figures that hold all transfers before it: two transfers cannot both take
the last kilogram, and no limit falls below what its budget has used.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.quantity import exact_mass, format_pair

# How long a transfer waits for a budget that is missing or has no figures: some evaluations.
MOST_WAIT_SECONDS: Final = 300
# A booking whose answer was lost may still be committed. Until then the transfer is not refused.
UNCERTAIN_SECONDS: Final = 120
# What the ledger can hold in one adjustment.
MOST_UG: Final = 2**62


class TransferOutcome(StrEnum):
    """What is decided. Applied and Refused are final."""

    APPLIED = "Applied"
    REFUSED = "Refused"
    WAITS = ""


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """A budget as its last evaluation left it.

    `period`: the one that was evaluated. `base_limit_ug`: the limit of its spec, without adjustments. `used_ug`: None
    while the use is not known. `parent`: the ClusterCarbonBudget that it names; empty if none. `per_workload`: whether
    its limit holds for each workload. `uid`: the object's, for Events.
    """

    period: Period
    base_limit_ug: int
    used_ug: int | None
    parent: str = ""
    accounting: str = "LocationBased"
    per_workload: bool = False
    uid: str = ""


@dataclass(frozen=True, slots=True)
class PendingTransfer:
    """A transfer that is not decided. `source` and `receiver` are budgets as namespace/name.

    `created_at`: by the API server. `seen_at`: when this process saw it first. `claimed`: the period in which a booking
    of it was begun, perhaps by an earlier process; None if none was. `claimed_at`: when the last attempt was seen.
    """

    uid: str
    source: str
    receiver: str
    amount_ug: int
    created_at: int
    seen_at: int
    claimed: Period | None = None
    claimed_at: int = 0


@dataclass(frozen=True, slots=True)
class TransferDecision:
    """The outcome in a sentence, and the period in which it counts; None where the budgets have no common one."""

    outcome: TransferOutcome
    message: str
    period: Period | None = None


BookedSums = Mapping[tuple[str, Period], int]  # (budget, period): micrograms of all its adjustments


def decide_transfers(
    pending: Iterable[PendingTransfer], figures: Mapping[str, BudgetFigures], booked: BookedSums, now: int
) -> list[tuple[PendingTransfer, TransferDecision]]:
    """Decide transfers that are not booked, in the order of creation; each sees those applied before it."""
    sums = dict(booked)
    decided = []
    for transfer in sorted(pending, key=lambda one: (one.created_at, one.uid)):
        decision = _decide(transfer, figures, sums, now)
        if decision.outcome is TransferOutcome.APPLIED and decision.period is not None:
            for budget, sign in ((transfer.source, -1), (transfer.receiver, 1)):
                key = budget, decision.period
                sums[key] = sums.get(key, 0) + sign * transfer.amount_ug
        decided.append((transfer, decision))
    return decided


def applied_message(transfer: PendingTransfer) -> str:
    """What was done, in a sentence."""
    amount = exact_mass(transfer.amount_ug)
    return f"{amount} went from the limit of {transfer.source} to the limit of {transfer.receiver}"


def _decide(
    transfer: PendingTransfer, figures: Mapping[str, BudgetFigures], sums: BookedSums, now: int
) -> TransferDecision:
    sides = [(name, figures.get(name)) for name in (transfer.source, transfer.receiver)]
    for name, side in sides:
        if side is None:
            return _wait_or_refuse(transfer, f"CarbonBudget {name} does not exist or cannot be evaluated", now)
    (_, source), (_, receiver) = sides
    assert source is not None
    assert receiver is not None
    if (reason := _never(transfer, source, receiver)) is not None:
        return _refused(transfer, reason, now)
    for name, side in sides:
        if side is not None and (outside := _outside(transfer, name, side, now)) is not None:
            return outside
    if source.period != receiver.period:
        return _refused(
            transfer, "the budgets do not have the same period: a transfer counts in one period of both", now
        )
    if transfer.claimed not in (None, source.period):
        return _refused(transfer, "the period of the budgets was changed before the transfer was booked", now)
    for name, side in sides:
        if side is not None and side.used_ug is None:
            return _wait_or_refuse(transfer, f"CarbonBudget {name} has no figures yet", now)
    left_ug = source.base_limit_ug + sums.get((transfer.source, source.period), 0) - (source.used_ug or 0)
    if transfer.amount_ug > left_ug:
        amount, left = format_pair(transfer.amount_ug, max(0, left_ug))
        return _refused(transfer, f"{transfer.source} has {left} left in this period, which is less than {amount}", now)
    return TransferDecision(TransferOutcome.APPLIED, applied_message(transfer), source.period)


def _never(transfer: PendingTransfer, source: BudgetFigures, receiver: BudgetFigures) -> str | None:
    """Why no figures would help; None if nothing speaks against it."""
    if transfer.source == transfer.receiver:
        return "both budgets are the same one"
    if not 0 < transfer.amount_ug <= MOST_UG:
        return "the amount is zero, or more than can be booked"
    for name, side in ((transfer.source, source), (transfer.receiver, receiver)):
        if side.per_workload:
            return f"{name} has per: Workload: its limit is not one amount that can be given or received"
    if source.accounting != receiver.accounting:
        return "one budget is LocationBased and the other one MarketBased: their grams are not the same unit"
    if source.parent != receiver.parent:
        return "the budgets do not name the same parent: a transfer may not move the limit of one parent to another"
    return None


def _outside(transfer: PendingTransfer, name: str, side: BudgetFigures, now: int) -> TransferDecision | None:
    """The decision if the creation is not in the budget's present period; None if it is."""
    start, end = side.period.start, side.period.end
    created = _time(transfer.created_at)
    if transfer.created_at < start or (end <= now and transfer.created_at < end):
        return _refused(
            transfer, f"it was created at {created}, and that period of {name} is over or has not begun", now
        )
    if transfer.created_at >= end:  # the figures may still be those of the period before
        return _wait_or_refuse(transfer, f"{name} has no figures of the period that contains {created}", now)
    return None


def _wait_or_refuse(transfer: PendingTransfer, reason: str, now: int) -> TransferDecision:
    if now - transfer.seen_at < MOST_WAIT_SECONDS:
        minutes = MOST_WAIT_SECONDS // 60
        return TransferDecision(TransferOutcome.WAITS, f"waits at most {minutes} minutes: {reason}")
    return _refused(transfer, reason, now)


def _refused(transfer: PendingTransfer, reason: str, now: int) -> TransferDecision:
    if transfer.claimed is not None and now - transfer.claimed_at < UNCERTAIN_SECONDS:
        return TransferDecision(TransferOutcome.WAITS, "waits for the answer of the server: its booking was begun")
    return TransferDecision(TransferOutcome.REFUSED, f"neither limit was changed: {reason}")


def _time(instant: int) -> str:
    return dt.datetime.fromtimestamp(instant, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
