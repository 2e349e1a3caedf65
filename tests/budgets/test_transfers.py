"""Transfers between budgets: what is applied, what is refused and why, and that limits are conserved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.transfers import (
    MOST_UG,
    MOST_WAIT_SECONDS,
    UNCERTAIN_SECONDS,
    BudgetFigures,
    PendingTransfer,
    TransferDecision,
    TransferOutcome,
    decide_transfers,
)

KG = 10**9
MONTH = Period(1_000_000, 3_600_000)
NOW = 2_000_000
A = BudgetFigures(MONTH, base_limit_ug=10 * KG, used_ug=4 * KG)
B = BudgetFigures(MONTH, base_limit_ug=5 * KG, used_ug=5 * KG)
FIVE = PendingTransfer("u1", "team-a/a", "team-b/b", 5 * KG, created_at=NOW - 10, seen_at=NOW - 5)
APPLIED, REFUSED, WAITS = TransferOutcome.APPLIED, TransferOutcome.REFUSED, TransferOutcome.WAITS


def decide(
    transfer: PendingTransfer = FIVE,
    a: BudgetFigures | None = A,
    b: BudgetFigures | None = B,
    booked: Mapping[tuple[str, Period], int] | None = None,
    now: int = NOW,
) -> TransferDecision:
    figures = {name: side for name, side in (("team-a/a", a), ("team-b/b", b)) if side is not None}
    return decide_transfers([transfer], figures, booked or {}, now)[0][1]


def test_what_is_left_can_be_given() -> None:
    assert decide() == TransferDecision(APPLIED, "5kg went from the limit of team-a/a to the limit of team-b/b", MONTH)


def test_all_that_is_left_can_be_given_and_not_a_microgram_more() -> None:
    assert decide(replace(FIVE, amount_ug=6 * KG)).outcome is APPLIED
    more = decide(replace(FIVE, amount_ug=6 * KG + 1))
    assert more.outcome is REFUSED
    assert more.message == (
        "neither limit was changed: team-a/a has 6kg left in this period, which is less than 6.000000001kg"
    )


def test_what_was_booked_before_counts() -> None:
    assert decide(booked={("team-a/a", MONTH): -2 * KG}).outcome is REFUSED
    assert decide(booked={("team-a/a", MONTH): -1 * KG}).outcome is APPLIED
    assert decide(replace(FIVE, amount_ug=8 * KG), booked={("team-a/a", MONTH): 2 * KG}).outcome is APPLIED
    other_period = {("team-a/a", Period(MONTH.start, MONTH.start + 7 * 86_400)): -2 * KG}
    assert decide(booked=other_period).outcome is APPLIED


def test_two_transfers_in_one_round_cannot_both_take_the_last_kilogram() -> None:
    later = replace(FIVE, uid="u2", created_at=FIVE.created_at + 1)
    decided = decide_transfers([later, FIVE], {"team-a/a": A, "team-b/b": B}, {}, NOW)
    assert [(one.uid, decision.outcome) for one, decision in decided] == [("u1", APPLIED), ("u2", REFUSED)]


def test_what_was_just_received_can_be_passed_on() -> None:
    on = PendingTransfer("u2", "team-b/b", "team-a/a", 5 * KG, created_at=NOW - 9, seen_at=NOW)
    decided = decide_transfers([on, FIVE], {"team-a/a": A, "team-b/b": B}, {}, NOW)
    assert [decision.outcome for _, decision in decided] == [APPLIED, APPLIED]


NEVER = {
    "across periods": (FIVE, A, replace(B, period=Period(MONTH.start, MONTH.end + 1)), "the same period"),
    "each workload's limit": (FIVE, replace(A, per_workload=True), B, "team-a/a has per: Workload"),
    "to each workload's limit": (FIVE, A, replace(B, per_workload=True), "team-b/b has per: Workload"),
    "across accountings": (FIVE, A, replace(B, accounting="MarketBased"), "their grams are not the same unit"),
    "across parents": (FIVE, replace(A, parent="x"), replace(B, parent="y"), "the same parent"),
    "out of a parent": (FIVE, replace(A, parent="x"), B, "the same parent"),
    "into a parent": (FIVE, A, replace(B, parent="x"), "the same parent"),
    "nothing": (replace(FIVE, amount_ug=0), A, B, "the amount is zero"),
    "less than nothing": (replace(FIVE, amount_ug=-1), A, B, "the amount is zero"),
    "more than the ledger holds": (
        replace(FIVE, amount_ug=MOST_UG + 1), replace(A, base_limit_ug=10**21), B, "more than can be booked",
    ),
    "to itself": (replace(FIVE, receiver="team-a/a"), A, B, "both budgets are the same one"),
    "of a period before": (replace(FIVE, created_at=MONTH.start - 1), A, B, "is over or has not begun"),
}  # fmt: skip


@pytest.mark.parametrize("what", NEVER)
def test_what_can_never_be_applied_is_refused_at_once_with_the_reason(what: str) -> None:
    transfer, a, b, reason = NEVER[what]
    decision = decide(transfer, a, b)
    assert decision.outcome is REFUSED
    assert decision.message.startswith("neither limit was changed: ")
    assert reason in decision.message


def test_budgets_of_the_same_parent_may_transfer() -> None:
    assert decide(a=replace(A, parent="x"), b=replace(B, parent="x")).outcome is APPLIED


def test_a_transfer_of_a_period_that_is_over_is_refused_also_by_figures_of_that_period() -> None:
    assert decide(now=MONTH.end).outcome is REFUSED
    assert decide(now=MONTH.end - 1).outcome is APPLIED


NOT_YET: dict[str, tuple[BudgetFigures | None, BudgetFigures | None, str]] = {
    "no source": (None, B, "CarbonBudget team-a/a does not exist or cannot be evaluated"),
    "no receiver": (A, None, "CarbonBudget team-b/b does not exist or cannot be evaluated"),
    "no use of the source": (replace(A, used_ug=None), B, "CarbonBudget team-a/a has no figures yet"),
    "no use of the receiver": (A, replace(B, used_ug=None), "CarbonBudget team-b/b has no figures yet"),
    "figures of the period before": (
        replace(A, period=Period(0, MONTH.start)), B, "has no figures of the period that contains",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_YET)
def test_what_is_not_known_yet_is_waited_for_some_minutes_and_then_refused(what: str) -> None:
    a, b, reason = NOT_YET[what]
    first = decide(FIVE, a, b, now=FIVE.seen_at + MOST_WAIT_SECONDS - 1)
    assert first.outcome is WAITS
    assert first.message == f"waits at most 5 minutes: {reason}" or reason in first.message
    last = decide(FIVE, a, b, now=FIVE.seen_at + MOST_WAIT_SECONDS)
    assert last.outcome is REFUSED
    assert reason in last.message


def test_what_may_be_booked_already_is_not_refused_before_that_is_certain() -> None:
    claimed = replace(FIVE, claimed=MONTH, claimed_at=NOW)
    assert decide(claimed, a=replace(A, used_ug=10 * KG)).outcome is WAITS
    assert decide(claimed, a=replace(A, used_ug=10 * KG), now=NOW + UNCERTAIN_SECONDS).outcome is REFUSED
    assert decide(claimed).outcome is APPLIED
    moved = replace(claimed, claimed=Period(MONTH.start, MONTH.start + 1))
    assert decide(moved, now=NOW + UNCERTAIN_SECONDS).outcome is REFUSED


NAMES = [f"n/{name}" for name in "abcd"]
FIGURES = st.builds(BudgetFigures, st.just(MONTH), st.integers(0, 100), st.one_of(st.none(), st.integers(0, 120)))
TRANSFERS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 60), st.integers(0, 5)), max_size=30
)


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, FIGURES)), TRANSFERS, st.integers(1, 5))
def test_random_transfers_conserve_the_sum_and_no_limit_falls_below_its_use(
    figures: dict[str, BudgetFigures], drawn: list[tuple[str, str, int, int]], rounds: int
) -> None:
    pending = [
        PendingTransfer(f"u{n}", source, to, amount, NOW - 100 + at, NOW)
        for n, (source, to, amount, at) in enumerate(drawn)
    ]
    booked: dict[tuple[str, Period], int] = {}
    for number in range(rounds):
        for transfer, decision in decide_transfers(pending[number::rounds], figures, booked, NOW):
            if decision.outcome is APPLIED:
                for name, sign in ((transfer.source, -1), (transfer.receiver, 1)):
                    key = name, MONTH
                    booked[key] = booked.get(key, 0) + sign * transfer.amount_ug
    assert sum(booked.values()) == 0
    for name, of in figures.items():
        change = booked.get((name, MONTH), 0)
        if change < 0:
            assert of.base_limit_ug + change >= (of.used_ug or 0)
        if of.used_ug is None:
            assert change == 0
