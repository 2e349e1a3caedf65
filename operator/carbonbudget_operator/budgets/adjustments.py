"""Adjustments of a budget's limit: the limit in force, what is carried over, and what is deducted for overspend.

Amounts are signed integers in micrograms. An adjustment belongs to one budget and one of its periods, and is never
changed once it is booked. So each rule here says what is still to book, given what is booked.

In a period, use and deductions take first what expires with the period (credits, transfers), then what was carried
over, the oldest first, and the period's own limit last. What is left of a credit or a transfer expires; what is left of
the rest may be carried over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from carbonbudget_operator.budgets.period import Period

CARRY_OVER: Final = "CarryOver"
OVERSPEND: Final = "Overspend"
ADJUSTMENT_REASONS: Final = (CARRY_OVER, OVERSPEND, "TransferIn", "TransferOut", "Credit")
_GIVEN: Final = frozenset({"TransferIn", "Credit"})
MIN_COVERAGE_PERCENT: Final = 95
# What one row of the ledger holds.
MOST_UG: Final = 2**62
_LEFT: Final = "left@"
_OVER: Final = "over@"
_COUNTS: Final = "counts@"
_FROM: Final = "from@"
_UNASKED: Final = "-"
# While a period runs, overspend is booked in steps of a hundredth of the limit, or of an eighth of what is booked. So
# a thousand times the limit is some eighty rows.
_STEP_OF_LIMIT: Final = 100
_STEP_OF_BOOKED: Final = 8


class LimitChange(Protocol):
    """An adjustment: why, what it comes from, and by how many micrograms it changes the limit."""

    @property
    def reason(self) -> str:
        """CarryOver, Overspend, TransferIn, TransferOut or Credit."""

    @property
    def source(self) -> str:
        """What it comes from. With the reason it is unique within a budget's period."""

    @property
    def micrograms(self) -> int:
        """Below zero for a deduction."""


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """One adjustment, as it is proposed or as it is in force."""

    reason: str
    source: str
    micrograms: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ClosingTerms:
    """What the budget asks for. `carry_percent` is 0 if nothing is carried over, else the most of a limit that is."""

    carry_percent: int = 0
    carry_periods: int = 1
    deducts: bool = False


@dataclass(frozen=True, slots=True)
class PeriodOutcome:
    """A period's own limit, use and adjustments. `start` is UTC seconds and names the period in sources.

    `counted` identifies what `used_ug` is the sum of (counted_hash.py). `lost`: the ledger lost facts of the period, so
    nobody knows how much more was used. `nodes_behind`: so many nodes with pods of it fell silent before its
    end and never reported up to it.
    """

    start: int
    limit_ug: int
    used_ug: int
    booked: Sequence[LimitChange] = ()
    counted: str = ""
    lost: bool = False
    nodes_behind: int = 0


def effective_limit_ug(limit_ug: int, adjustments: Iterable[LimitChange]) -> int:
    """The limit in force: the budget's own with its adjustments, never below 0."""
    return max(0, limit_ug + sum(each.micrograms for each in adjustments))


def is_closed_into(booked: Iterable[LimitChange]) -> bool:
    """Whether the period before was closed into the one with these adjustments: closing always books a row, if of 0."""
    return any(each.reason == CARRY_OVER and each.source.startswith(_LEFT) for each in booked)


def nothing_carried(start: int, detail: str = "") -> AppliedChange:
    """The row of a period that is closed without anything left, or that was not followed."""
    return AppliedChange(CARRY_OVER, f"{_LEFT}{start}#1", 0, detail)


def counts_row(period: Period, counted: str, carries: bool = True) -> AppliedChange:
    """The row of 0 that says what was counted in a period; another one if that was changed while it ran.

    Without carry-over (not `carries`) it says that instead. It names the period's end too: a month and a week may begin
    at once, and the ledger books a source once for each start.
    """
    return AppliedChange(CARRY_OVER, f"{_COUNTS}{period.start}-{period.end}#{counted if carries else _UNASKED}", 0)


def carry_over(terms: ClosingTerms, outcome: PeriodOutcome, next_limit_ug: int, coverage_percent: int) -> list[
    AppliedChange
]:  # fmt: skip
    """The rows that close a period into the next one; always at least one, of 0 if nothing is carried over.

    Carried over is what is left of the period's own limit, and of what was carried into it as long as that has not been
    usable for `carry_periods` periods. Together it is at most `carry_percent` of the smaller limit of the two periods;
    beyond that the oldest is dropped. Nothing is carried over from a period of which less than 95 % of the nodes' time
    was reported, or of which the ledger lost facts, because missing data would become allowance. From 95 % on the use
    is scaled up: the time that nobody reported is taken to have used as much as the rest. That does not hold for a node
    that was silent to the end: it may have run all of a team's pods. So nothing is carried over then. Nothing either
    from one for which something else was counted while it ran than now: the use of other pods would become allowance.
    """
    if not terms.carry_percent:
        return [nothing_carried(outcome.start)]
    if coverage_percent < MIN_COVERAGE_PERCENT:
        detail = f"nothing carried over: {coverage_percent} % of the nodes' time was reported"
        return [nothing_carried(outcome.start, detail)]
    if outcome.lost:
        return [nothing_carried(outcome.start, "nothing carried over: the ledger lost facts of the period")]
    if outcome.nodes_behind:
        nodes = "1 node" if outcome.nodes_behind == 1 else f"{outcome.nodes_behind} nodes"
        detail = f"nothing carried over: {nodes} with pods of it did not report up to the period's end"
        return [nothing_carried(outcome.start, detail)]
    marks = {one.source.partition("#")[2] for one in outcome.booked if one.source.startswith(_COUNTS)}
    if marks == {_UNASKED}:
        return [nothing_carried(outcome.start, "nothing carried over: the period ended without carryOver")]
    if len({outcome.counted, *marks} - {"", _UNASKED}) > 1:
        return [nothing_carried(outcome.start, "nothing carried over: what is counted was changed")]
    room_ug = min(terms.carry_percent * min(outcome.limit_ug, next_limit_ug) // 100, MOST_UG)
    made: list[AppliedChange] = []
    scaled = replace(outcome, used_ug=-(-outcome.used_ug * 100 // min(100, coverage_percent)))
    for lot in sorted(_left(scaled), key=lambda each: -each.origin):
        carried_ug = min(lot.micrograms, room_ug) if lot.uses < terms.carry_periods else 0
        room_ug -= carried_ug
        if carried_ug or lot.origin == outcome.start:
            made.append(AppliedChange(CARRY_OVER, f"{_LEFT}{lot.origin}#{lot.uses + 1}", carried_ug))
    return made


def overspend(outcome: PeriodOutcome, booked_next: Iterable[LimitChange], final: bool) -> AppliedChange | None:
    """What is to be deducted from the next period in addition to what is booked there; None for nothing.

    The overspend of a period is its use above its limit with all adjustments. A deduction that is larger than a whole
    limit counts as overspend of the period that it is larger than, so the rest goes on to the next one.

    While the period runs (not `final`), the deduction is booked in steps, so that it does not depend on the budget
    being there at the period's end. What is booked stays, also if the limit is raised afterwards. Only what transfers
    and credits of the period covered since is given back when the period is closed.
    """
    booked_next = tuple(booked_next)
    total_ug = outcome.used_ug - outcome.limit_ug - sum(each.micrograms for each in outcome.booked)
    mark = f"{_OVER}{outcome.start}+"
    before_ug = -sum(one.micrograms for one in booked_next if one.reason == OVERSPEND and one.source.startswith(mark))
    fresh_ug = total_ug - before_ug
    step_ug = 1 if final else max(1, outcome.limit_ug // _STEP_OF_LIMIT, before_ug // _STEP_OF_BOOKED)
    if fresh_ug < step_ug:
        covered_ug = _given_since(outcome.booked, [one for one in booked_next if one.source.startswith(mark)])
        back_ug = min(before_ug - max(0, total_ug), covered_ug) if final else 0
        return AppliedChange(OVERSPEND, f"{mark}{before_ug}", back_ug) if back_ug > 0 else None
    return AppliedChange(OVERSPEND, f"{mark}{before_ug}", -min(fresh_ug, MOST_UG))


def _given_since(booked: Iterable[LimitChange], deducted: Iterable[LimitChange]) -> int:
    """What transfers and credits gave since the first of these deductions was booked: what was there before counted."""
    first = min((_booked_at(one) for one in deducted), default=0)
    return sum(max(0, one.micrograms) for one in booked if one.reason in _GIVEN and _booked_at(one) >= first)


def _booked_at(change: LimitChange) -> int:
    return int(getattr(change, "booked_at", 0))


def moved_deductions(
    left: Period, booked: Iterable[LimitChange], current: Period, booked_current: Iterable[LimitChange]
) -> list[AppliedChange]:
    """What the present period takes over from `left`, which an edit of the calendar ended. `booked`: what each has.

    It is what that period owed: otherwise an edit would erase a deduction, or what was given away. Each row names the
    period that owed it first, so that edits there and back take nothing over twice. An earlier version named it by its
    start alone.
    """
    owed: dict[str, int] = {}
    for each in booked:
        origin = each.source.removeprefix(_FROM) if each.source.startswith(_FROM) else f"{left.start}-{left.end}"
        owed[origin] = owed.get(origin, 0) + each.micrograms
    known = {each.source for each in booked_current}
    own = {f"{current.start}-{current.end}", str(current.start)}
    return [
        AppliedChange(OVERSPEND, f"{_FROM}{origin}", max(amount, -MOST_UG))
        for origin, amount in owed.items()
        if amount < 0 and origin not in own and f"{_FROM}{origin.partition('-')[0]}" not in known
    ]


def shown_changes(booked: Iterable[LimitChange], most: int) -> list[AppliedChange]:
    """Adjustments for people: rows of one origin added up, those of 0 left out, at most `most` of them.

    Those beyond are added up by reason, so that the sum is always that of all. `source` is the detail where there is
    one. `most` is at least 6.
    """
    sums: dict[tuple[str, str], int] = {}
    for each in booked:
        key = each.reason, getattr(each, "detail", "") or _origin_text(each.source)
        sums[key] = sums.get(key, 0) + each.micrograms
    found = [AppliedChange(reason, source, amount) for (reason, source), amount in sums.items() if amount]
    if len(found) <= most:
        return found
    kept, rest = found[: most - 5], found[most - 5 :]
    reasons = list(dict.fromkeys(each.reason for each in rest))
    return kept + [
        AppliedChange(reason, f"{sum(each.reason == reason for each in rest)} more", amount)
        for reason in reasons
        if (amount := sum(each.micrograms for each in rest if each.reason == reason))
    ]


@dataclass(frozen=True, slots=True)
class _Lot:
    """What is left of one period's own limit. `uses`: in how many periods since it has been usable."""

    origin: int
    uses: int
    micrograms: int


def _left(outcome: PeriodOutcome) -> list[_Lot]:
    """What use and deductions have left of each lot, the oldest first; the last is the period's own limit."""
    lots: list[_Lot] = []
    needed_ug = outcome.used_ug
    for each in outcome.booked:
        if each.micrograms < 0:
            needed_ug -= each.micrograms
        elif each.reason == CARRY_OVER and (named := _lot_name(each.source)) is not None:
            lots.append(_Lot(*named, each.micrograms))
        else:  # it expires with the period, and is used first
            needed_ug -= each.micrograms
    needed_ug = max(0, needed_ug)
    left: list[_Lot] = []
    for lot in (*sorted(lots, key=lambda one: one.origin), _Lot(outcome.start, 0, outcome.limit_ug)):
        taken_ug = min(needed_ug, lot.micrograms)
        needed_ug -= taken_ug
        left.append(_Lot(lot.origin, lot.uses, lot.micrograms - taken_ug))
    return left


def _lot_name(source: str) -> tuple[int, int] | None:
    """Origin and uses of a source such as "left@1764547200#1"; None for another."""
    origin, mark, uses = source.removeprefix(_LEFT).partition("#")
    if not source.startswith(_LEFT) or not mark or not (origin.isdecimal() and uses.isdecimal()):
        return None
    return int(origin), int(uses)


def _origin_text(source: str) -> str:
    """A source without the part that only tells rows of one origin apart."""
    if source.startswith(_OVER):
        return source.partition("+")[0]
    return source.partition("#")[0] if source.startswith(_LEFT) else source
