"""Carry-over and overspend: what is carried, what is deducted, and that nothing is ever created."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.api.adjustment_bodies import AnsweredAdjustment, BudgetPeriod
from carbonbudget_operator.budgets.adjustments import (
    AppliedChange,
    ClosingTerms,
    PeriodOutcome,
    carry_over,
    counts_row,
    effective_limit_ug,
    is_closed_into,
    moved_deductions,
    nothing_carried,
    overspend,
    shown_changes,
)
from carbonbudget_operator.budgets.period import Period

KG = 10**9
FIFTH = ClosingTerms(carry_percent=20, carry_periods=1)
THREE = ClosingTerms(carry_percent=100, carry_periods=3)


def ended(used_kg: float, *booked: AppliedChange, limit_kg: int = 5, start: int = 100) -> PeriodOutcome:
    return PeriodOutcome(start, limit_kg * KG, int(used_kg * KG), booked)


def carried(kilos: int, origin: int = 1, uses: int = 1) -> AppliedChange:
    return AppliedChange("CarryOver", f"left@{origin}#{uses}", kilos * KG)


def sources(changes: list[AppliedChange]) -> dict[str, float]:
    return {each.source: each.micrograms / KG for each in changes}


# --- the limit in force ----------------------------------------------------------------------------------------------


def test_the_limit_in_force_is_the_limit_with_all_adjustments_and_never_below_zero() -> None:
    assert effective_limit_ug(5 * KG, [carried(1), AppliedChange("Overspend", "o", -2 * KG)]) == 4 * KG
    assert effective_limit_ug(5 * KG, [AppliedChange("Overspend", "o", -7 * KG)]) == 0
    assert effective_limit_ug(5 * KG, []) == 5 * KG


# --- carry-over ------------------------------------------------------------------------------------------------------


def test_what_is_left_is_carried_over_up_to_its_part_of_the_limit() -> None:
    assert sources(carry_over(FIFTH, ended(4.5), 5 * KG, 100)) == {"left@100#1": 0.5}
    assert sources(carry_over(FIFTH, ended(1), 5 * KG, 100)) == {"left@100#1": 1}


@pytest.mark.parametrize("used", [5, 6])
def test_where_nothing_is_left_a_row_of_zero_says_that_the_period_is_closed(used: int) -> None:
    made = carry_over(FIFTH, ended(used), 5 * KG, 100)
    assert sources(made) == {"left@100#1": 0}
    assert is_closed_into(made)


def test_of_two_limits_the_smaller_one_counts() -> None:
    assert sources(carry_over(FIFTH, ended(0), 10 * KG, 100)) == {"left@100#1": 1}
    assert sources(carry_over(FIFTH, ended(0), 2 * KG, 100)) == {"left@100#1": 0.4}


@pytest.mark.parametrize(("coverage", "kilos"), [(95, 1), (94, 0), (0, 0)])
def test_missing_data_is_no_allowance(coverage: int, kilos: int) -> None:
    assert sources(carry_over(FIFTH, ended(1), 5 * KG, coverage)) == {"left@100#1": kilos}


@pytest.mark.parametrize(("coverage", "kilos"), [(100, 1), (96, 0.833333333), (95, 0.789473684)])
def test_the_time_that_nobody_reported_is_taken_to_have_used_as_much(coverage: int, kilos: float) -> None:
    """Of 4 kg with 95 % reported, 4.21 kg may have been used."""
    assert sources(carry_over(FIFTH, ended(4), 5 * KG, coverage)) == {"left@100#1": kilos}


def test_nothing_is_carried_over_where_the_ledger_lost_facts() -> None:
    (made,) = carry_over(FIFTH, replace(ended(1), lost=True), 5 * KG, 100)
    assert (made.micrograms, made.detail) == (0, "nothing carried over: the ledger lost facts of the period")


@pytest.mark.parametrize(("nodes", "words"), [(1, "1 node"), (7, "7 nodes")])
def test_nothing_is_carried_over_where_a_node_was_silent_to_the_end(nodes: int, words: str) -> None:
    (made,) = carry_over(FIFTH, replace(ended(1), nodes_behind=nodes), 5 * KG, 100)
    assert (made.micrograms, made.detail) == (
        0,
        f"nothing carried over: {words} with pods of it did not report up to the period's end",
    )


def test_what_other_pods_left_is_no_allowance() -> None:
    def made(counted: str, *before: str) -> dict[str, float]:
        rows = [counts_row(Period(100, 200), each) for each in before]
        return sources(carry_over(FIFTH, PeriodOutcome(100, 5 * KG, KG, rows, counted), 5 * KG, 100))

    assert made("now", "now") == made("now") == made("") == {"left@100#1": 1}
    assert made("now", "before") == made("now", "before", "now") == {"left@100#1": 0}
    assert not is_closed_into([counts_row(Period(100, 200), "now")])


def test_without_carry_over_only_the_zero_row_is_booked() -> None:
    assert carry_over(ClosingTerms(deducts=True), ended(1), 5 * KG, 100) == [nothing_carried(100)]


def test_what_was_carried_once_expires_with_periods_one() -> None:
    assert sources(carry_over(FIFTH, ended(0, carried(1)), 5 * KG, 100)) == {"left@100#1": 1}


def test_it_stays_usable_for_as_many_periods_as_the_budget_says() -> None:
    def lot(uses: int) -> dict[str, float]:
        return sources(carry_over(THREE, ended(5, carried(2, uses=uses)), 5 * KG, 100))

    # Of 7 kg in force 5 are used, the carried 2 first; so 2 of the own limit are left.
    assert lot(1) == {"left@100#1": 2}
    unused = sources(carry_over(THREE, ended(0, carried(2, 1, 2), limit_kg=2), 9 * KG, 100))
    assert unused == {"left@100#1": 2}  # at most 100 % of the smaller limit: the newest first
    roomy = sources(carry_over(THREE, ended(3, carried(4, 1, 2)), 5 * KG, 100))
    assert roomy == {"left@100#1": 5}
    expiring = sources(carry_over(THREE, ended(4, carried(1, 1, 3), carried(3, 2, 2)), 5 * KG, 100))
    assert expiring == {"left@100#1": 5}


def test_the_oldest_is_used_first_and_the_rest_is_carried_on() -> None:
    half = ClosingTerms(carry_percent=100, carry_periods=3)
    made = carry_over(half, ended(6, carried(3, 1, 2), carried(4, 2, 1), limit_kg=5), 5 * KG, 100)
    # 3 of the first and 3 of the second are used: 1 of the second and 5 of the own limit are left, and 5 fit.
    assert sources(made) == {"left@100#1": 5}
    made = carry_over(half, ended(8, carried(3, 1, 2), carried(4, 2, 1), limit_kg=5), 5 * KG, 100)
    assert sources(made) == {"left@100#1": 4}
    made = carry_over(half, PeriodOutcome(100, 5 * KG, 4 * KG, [carried(6, 2, 1)]), 20 * KG, 100)
    assert sources(made) == {"left@100#1": 5}


def test_transfers_and_credits_are_used_first_and_expire_with_their_period() -> None:
    given_kg = AppliedChange("TransferIn", "uid", 2 * KG), AppliedChange("Credit", "t", KG)
    assert sources(carry_over(THREE, ended(0, *given_kg), 5 * KG, 100)) == {"left@100#1": 5}
    assert sources(carry_over(THREE, ended(4, *given_kg), 5 * KG, 100)) == {"left@100#1": 4}


def test_what_was_given_away_is_not_left() -> None:
    assert sources(carry_over(THREE, ended(1, AppliedChange("TransferOut", "uid", -2 * KG)), 5 * KG, 100)) == {
        "left@100#1": 2
    }


# --- overspend -------------------------------------------------------------------------------------------------------


def test_overspend_is_deducted_once() -> None:
    first = overspend(ended(6), [], final=True)
    assert first == AppliedChange("Overspend", "over@100+0", -KG)
    assert overspend(ended(6), [first], final=True) is None


def test_overspend_goes_by_the_limit_with_its_adjustments() -> None:
    assert overspend(ended(6, carried(1)), [], final=True) is None
    assert overspend(ended(6, AppliedChange("TransferOut", "u", -KG)), [], True) == AppliedChange(
        "Overspend", "over@100+0", -2 * KG
    )


def test_a_deduction_larger_than_a_whole_limit_goes_on_to_the_next_period() -> None:
    owed = AppliedChange("Overspend", "over@1+0", -12 * KG)
    assert overspend(ended(0, owed), [], final=True) == AppliedChange("Overspend", "over@100+0", -7 * KG)


def test_while_a_period_runs_overspend_is_booked_in_steps_that_add_up() -> None:
    booked: list[AppliedChange] = []
    for grams in range(5_000, 7_001):
        step = overspend(ended(grams / 1_000), booked, final=False)
        booked += [step] if step is not None else []
    assert len(booked) < 30
    assert len({each.source for each in booked}) == len(booked)
    unbooked_ug = 2 * KG + sum(each.micrograms for each in booked)
    assert 0 <= unbooked_ug < 2 * KG // 8
    last = overspend(ended(7), booked, final=True)
    assert (last.micrograms if last is not None else 0) == -unbooked_ug


def test_a_use_a_thousand_times_the_limit_is_some_eighty_rows() -> None:
    booked: list[AppliedChange] = []
    for kilos in range(5, 5_001):
        step = overspend(ended(kilos), booked, final=False)
        booked += [step] if step is not None else []
    assert len(booked) < 80


def test_a_limit_that_is_raised_later_takes_no_deduction_back() -> None:
    booked = [AppliedChange("Overspend", "over@100+0", -KG)]
    assert overspend(ended(6, limit_kg=50), booked, final=True) is None


def test_what_a_transfer_covered_since_is_given_back_when_the_period_is_closed() -> None:
    booked = [AppliedChange("Overspend", "over@100+0", -KG)]
    covered = ended(6, AppliedChange("TransferIn", "uid", 3 * KG))
    assert overspend(covered, booked, final=False) is None
    assert overspend(covered, booked, final=True) == AppliedChange("Overspend", f"over@100+{KG}", KG)


def test_what_was_given_before_the_overspend_gives_nothing_back_if_the_limit_is_raised() -> None:
    period = BudgetPeriod(namespace="team-a", name="monthly", period_start=100, period_end=200)

    def row(reason: str, source: str, micrograms: int, booked_at: int) -> AnsweredAdjustment:
        fields = {"reason": reason, "source": source, "micrograms": micrograms, "booked_at": booked_at}
        return AnsweredAdjustment.model_validate({"budget": period.model_dump()} | fields)

    given_kg, owed = row("TransferIn", "uid", 3 * KG, 10), row("Overspend", "over@100+0", -KG, 20)
    raised = PeriodOutcome(100, 50 * KG, 9 * KG, [given_kg])
    assert overspend(raised, [owed], final=True) is None
    later = PeriodOutcome(100, 50 * KG, 9 * KG, [given_kg, row("TransferIn", "another", KG, 30)])
    assert overspend(later, [owed], final=True) == AppliedChange("Overspend", f"over@100+{KG}", KG)


# --- edited calendars -------------------------------------------------------------------------------------------------


def test_what_a_period_owed_is_taken_over_once_whatever_is_edited_there_and_back() -> None:
    month, week, day, other = Period(10, 40), Period(10, 17), Period(10, 11), Period(15, 22)
    rows: dict[Period, dict[str, AppliedChange]] = {
        month: {"over@5+0": AppliedChange("Overspend", "over@5+0", -7), "uid": AppliedChange("TransferIn", "uid", 2)}
    }
    edits = [month, week, other, month, week, day, week, month, other, day, month, day]
    for left, current in pairwise(edits):
        known = rows.setdefault(current, {})
        for change in moved_deductions(left, list(rows[left].values()), current, list(known.values())):
            known.setdefault(change.source, change)
        assert {at: sum(one.micrograms for one in some.values()) for at, some in rows.items()}[current] == -5


def test_what_an_earlier_version_took_over_is_not_taken_over_again() -> None:
    owed = [AppliedChange("Overspend", "over@5+0", -KG)]
    earlier = AppliedChange("Overspend", "from@10", -KG)  # it named no period's end
    assert moved_deductions(Period(10, 40), owed, Period(15, 22), [earlier]) == []
    assert moved_deductions(Period(15, 22), [earlier], Period(10, 40), owed) == []
    (on,) = moved_deductions(Period(15, 22), [earlier], Period(16, 17), [])
    assert on == earlier


def test_what_a_period_was_given_is_not_taken_over() -> None:
    given_rows = [carried(3), AppliedChange("Overspend", "over@5+0", -KG)]
    assert moved_deductions(Period(10, 40), given_rows, Period(20, 27), []) == []


# --- histories -------------------------------------------------------------------------------------------------------


@dataclass
class History:
    """One budget over periods 0, 1, 2, ..., closed in order, with overspend booked in between."""

    terms: ClosingTerms
    rows: defaultdict[int, list[AppliedChange]] = field(default_factory=lambda: defaultdict(list))

    def run(self, period: int, limit_ug: int, uses: list[int], coverage: int, next_limit_ug: int) -> int:
        """One period, in which the use grows by `uses`; returns its limit in force."""
        used_ug = 0
        for use in uses:
            used_ug += use
            outcome = PeriodOutcome(period, limit_ug, used_ug, self.rows[period])
            if self.terms.deducts and (step := overspend(outcome, self.rows[period + 1], final=False)):
                self._book(period + 1, step)
        outcome = PeriodOutcome(period, limit_ug, used_ug, self.rows[period])
        for change in carry_over(self.terms, outcome, next_limit_ug, coverage):
            self._book(period + 1, change)
        if self.terms.deducts and (last := overspend(outcome, self.rows[period + 1], final=True)):
            self._book(period + 1, last)
        return effective_limit_ug(limit_ug, self.rows[period])

    def _book(self, period: int, change: AppliedChange) -> None:
        assert (change.reason, change.source) not in {(one.reason, one.source) for one in self.rows[period]}
        self.rows[period].append(change)

    def sum(self, period: int, *reasons: str) -> int:
        return sum(each.micrograms for each in self.rows[period] if each.reason in reasons)


amounts = st.integers(0, 50)
periods = st.lists(
    st.tuples(
        st.integers(0, 40),  # limit
        st.lists(amounts, max_size=4),  # uses
        st.sampled_from([100, 100, 100, 95, 94]),
        st.integers(0, 9),  # given by transfers and credits
        st.integers(0, 9),  # given away
    ),
    min_size=1,
    max_size=8,
)
all_terms = st.builds(ClosingTerms, st.sampled_from([0, 10, 50, 100]), st.integers(1, 4), st.booleans())


@given(all_terms, periods, st.booleans())
def test_no_history_creates_anything(
    terms: ClosingTerms, given_periods: list[tuple[int, list[int], int, int, int]], steady: bool
) -> None:
    """All use within the limits in force is at most all own limits with what was given and given away."""
    history, within, allowed, used = History(terms), 0, 0, 0
    for number, (limit, uses, coverage, given_ug, away_ug) in enumerate(given_periods):
        limit = 20 if steady else limit
        following = 20 if steady or number + 1 == len(given_periods) else given_periods[number + 1][0]
        before = effective_limit_ug(limit, history.rows[number])
        history.rows[number].append(AppliedChange("TransferIn", "in", given_ug))
        history.rows[number].append(AppliedChange("TransferOut", "out", -min(away_ug, before)))
        in_force = history.run(number, limit, uses, coverage, following)
        use, used = sum(uses), used + sum(uses)
        within += min(use, in_force)
        allowed += limit + history.sum(number, "TransferIn", "TransferOut")
        carried_on = history.sum(number + 1, "CarryOver")
        # What is carried on and what was used were both allowed.
        assert within + carried_on <= allowed
        # It is not more than what was left, and not more than its part of the limit.
        assert 0 <= carried_on <= max(0, in_force - use * 100 // coverage)
        assert carried_on <= terms.carry_percent * min(limit, following) // 100
        if coverage < 95:
            assert carried_on == 0
        if terms.deducts:
            owed = -history.sum(number + 1, "Overspend")
            # Exactly once: all that was used is allowed, or owed to the next period.
            assert used <= allowed + owed
            assert owed == max(0, use - limit - sum(one.micrograms for one in history.rows[number]))
        else:
            assert history.sum(number + 1, "Overspend") == 0


@given(all_terms, periods)
def test_no_lot_is_usable_for_longer_than_the_budget_says(
    terms: ClosingTerms, given_periods: list[tuple[int, list[int], int, int, int]]
) -> None:
    history = History(terms)
    for number, (_, uses, coverage, _, _) in enumerate(given_periods):
        history.run(number, 20, uses, coverage, 20)
        for each in history.rows[number + 1]:
            if each.reason == "CarryOver" and each.micrograms:
                origin, count = map(int, each.source.removeprefix("left@").split("#"))
                assert number + 1 - origin == count <= terms.carry_periods


# --- for people ------------------------------------------------------------------------------------------------------


def test_rows_of_one_origin_are_added_up_and_zeros_left_out() -> None:
    rows = [
        nothing_carried(1),
        AppliedChange("Overspend", "over@1+0", -KG, "period from 2026-10-01"),
        AppliedChange("Overspend", f"over@1+{KG}", -KG, "period from 2026-10-01"),
        AppliedChange("TransferIn", "uid", 3 * KG),
    ]
    assert shown_changes(rows, 64) == [
        AppliedChange("Overspend", "period from 2026-10-01", -2 * KG),
        AppliedChange("TransferIn", "uid", 3 * KG),
    ]


@given(st.lists(st.tuples(st.sampled_from(["TransferIn", "TransferOut", "Credit"]), st.integers(1, 9)), max_size=300))
def test_however_many_they_are_the_shown_ones_are_few_and_add_up(given_rows: list[tuple[str, int]]) -> None:
    rows = [AppliedChange(reason, str(number), amount) for number, (reason, amount) in enumerate(given_rows)]
    shown = shown_changes(rows, 64)
    assert len(shown) <= 64
    assert sum(each.micrograms for each in shown) == sum(each.micrograms for each in rows)
