"""Credits of targets' savings: what counts, when, how much, and that nothing is credited twice."""

from __future__ import annotations

import itertools
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonbudget_operator.budgets.credits import (
    LEAST_KNOWN_PERCENT,
    CreditableTarget,
    CreditedBudget,
    CreditTerms,
    PodScope,
    SavedWindow,
    WindowClaim,
    are_disjoint,
    creditable_ug,
    new_claims,
)
from carbonbudget_operator.budgets.period import Calendar, Period

DAY = 86_400
OCTOBER, NOVEMBER, DECEMBER, JANUARY, FEBRUARY = (
    1790812800, 1793491200, 1796083200, 1798761600, 1801440000,
)  # fmt: skip
KG = 10**9
UTC = ZoneInfo("UTC")
CHATBOT: PodScope = {"app": frozenset({"chatbot"})}
SEARCH: PodScope = {"app": frozenset({"search"})}
ALL_PODS: PodScope = {}


def week(number: int, saved_kg: int = 2, fall_kg: int = 3, known: int = 100) -> SavedWindow:
    """The week that begins so many weeks after 2 November, a Monday."""
    start = NOVEMBER + DAY + number * 7 * DAY
    return SavedWindow(Period(start, start + 7 * DAY), saved_kg * KG, fall_kg * KG, known)


TARGET = CreditableTarget(
    "team", "chatbot", frozen_at=NOVEMBER, baseline_end=OCTOBER, accounting="LocationBased", scope=CHATBOT,
    windows=[week(0), week(1)],
)  # fmt: skip
TERMS = CreditTerms("chatbot", share_percent=100, cap_percent=50, expires_after=1)
BUDGET = CreditedBudget("team", "monthly", 100 * KG, Calendar.MONTH, UTC, "LocationBased", [TERMS])
NOW = NOVEMBER + 20 * DAY


def claims(
    *budgets: CreditedBudget, targets: tuple[CreditableTarget, ...] = (TARGET,), now: int = NOW,
    before: tuple[WindowClaim, ...] = (), credited: dict[tuple[str, str, int, str], int] | None = None,
) -> list[WindowClaim]:  # fmt: skip
    return new_claims(budgets or (BUDGET,), targets, before, credited or {}, now)


def amounts(found: list[WindowClaim]) -> list[tuple[str, int, int]]:
    return [(claim.budget, claim.period.start, claim.micrograms) for claim in found]


def test_each_window_that_is_over_raises_the_limit_of_the_period_after_it() -> None:
    assert amounts(claims()) == [("monthly", DECEMBER, 2 * KG), ("monthly", DECEMBER, 2 * KG)]
    assert [claim.window for claim in claims()] == [week(0).period, week(1).period]


def test_a_window_counts_once() -> None:
    first = claims()
    assert claims(before=tuple(first)) == []
    assert claims(before=tuple(first[:1])) == first[1:]


@pytest.mark.parametrize(
    ("saved_kg", "fall_kg", "credit_kg"), [(2, 3, 2), (3, 2, 2), (-1, 5, 0), (5, -1, 0), (0, 5, 0)]
)
def test_the_smaller_of_saving_and_absolute_fall_counts(saved_kg: int, fall_kg: int, credit_kg: int) -> None:
    assert creditable_ug(TARGET, week(0, saved_kg, fall_kg), 100, NOW) == credit_kg * KG


def test_only_the_share_counts_rounded_down() -> None:
    window = SavedWindow(week(0).period, 199, 500, 100)
    assert creditable_ug(TARGET, window, 50, NOW) == 99


def test_the_cap_holds_over_all_that_is_credited_in_the_period() -> None:
    tight = replace(BUDGET, terms=[replace(TERMS, cap_percent=3)])
    assert amounts(claims(tight)) == [("monthly", DECEMBER, 2 * KG), ("monthly", DECEMBER, 1 * KG)]
    booked = {("team", "monthly", DECEMBER, "chatbot"): 2 * KG}
    assert amounts(claims(tight, credited=booked)) == [("monthly", DECEMBER, 1 * KG)]
    assert amounts(claims(tight, credited={("team", "monthly", DECEMBER, "chatbot"): 3 * KG})) == []


def test_what_the_cap_leaves_no_room_for_goes_to_a_later_period_while_it_is_usable() -> None:
    lasting = replace(BUDGET, terms=[replace(TERMS, cap_percent=2, expires_after=2)])
    assert amounts(claims(lasting)) == [("monthly", DECEMBER, 2 * KG), ("monthly", JANUARY, 2 * KG)]


def test_a_credit_of_a_period_that_is_over_is_forfeited_and_one_of_the_present_period_is_not() -> None:
    assert len(claims(now=JANUARY - 1)) == 2
    assert claims(now=JANUARY) == []
    lasting = replace(BUDGET, terms=[replace(TERMS, expires_after=3)])
    assert amounts(claims(lasting, now=FEBRUARY - 1)) == [("monthly", JANUARY, 2 * KG)] * 2


NEVER = {
    "a window that is not over": (TARGET, week(2)),
    "a window that began before the baseline was computed": (
        replace(TARGET, frozen_at=week(0).period.start + 1), week(0),
    ),
    "a window of the baseline's own span": (replace(TARGET, baseline_end=week(0).period.start + 1), week(0)),
    "a window with too little known": (TARGET, week(0, known=LEAST_KNOWN_PERCENT - 1)),
}  # fmt: skip


@pytest.mark.parametrize("what", NEVER)
def test_what_never_counts(what: str) -> None:
    target, window = NEVER[what]
    assert creditable_ug(target, window, 100, NOW) == 0
    assert claims(targets=(replace(target, windows=[window]),)) == []


def test_a_budget_of_another_accounting_or_namespace_gets_nothing() -> None:
    assert claims(replace(BUDGET, accounting="MarketBased")) == []
    assert claims(replace(BUDGET, space="other")) == []
    assert claims(replace(BUDGET, space="")) == []


def test_of_two_budgets_that_credit_one_target_the_first_by_name_gets_it() -> None:
    other = replace(BUDGET, name="annual")
    assert {claim.budget for claim in claims(BUDGET, other)} == {"annual"}


def test_a_budget_that_is_made_later_gets_what_is_not_taken_and_the_next_windows() -> None:
    before = tuple(claims())
    later = replace(TARGET, windows=[week(0), week(1), week(2)])
    found = claims(BUDGET, replace(BUDGET, name="annual"), targets=(later,), before=before, now=NOW + 7 * DAY)
    assert [(claim.budget, claim.window) for claim in found] == [("annual", week(2).period)]


def test_two_targets_of_different_pods_are_both_credited() -> None:
    search = replace(TARGET, name="search", scope=SEARCH)
    both = replace(BUDGET, terms=[TERMS, replace(TERMS, target="search")])
    assert [claim.target for claim in claims(both, targets=(TARGET, search))] == ["chatbot"] * 2 + ["search"] * 2


@pytest.mark.parametrize("scope", [ALL_PODS, CHATBOT, {"tier": frozenset({"x"})}])
def test_of_two_targets_whose_pods_may_be_the_same_only_the_first_entry_is_credited(scope: PodScope) -> None:
    other = replace(TARGET, name="other", scope=scope)
    both = replace(BUDGET, terms=[replace(TERMS, target="other"), TERMS])
    assert [claim.target for claim in claims(both, targets=(TARGET, other))] == ["other"] * 2


def test_a_target_of_another_window_length_gets_nothing_of_the_time_that_is_taken() -> None:
    before = tuple(claims())
    start = week(0).period.start
    days = [SavedWindow(Period(start + n * DAY, start + (n + 1) * DAY), KG, KG, 100) for n in range(16)]
    found = claims(targets=(replace(TARGET, windows=days),), before=before)
    assert [claim.window.start for claim in found] == [start + 14 * DAY, start + 15 * DAY]


def test_a_target_under_another_name_gets_nothing_of_pods_and_time_that_were_credited() -> None:
    before = tuple(claims())
    renamed = replace(TARGET, name="renamed", windows=[week(0, saved_kg=9, fall_kg=9)])
    assert claims(replace(BUDGET, terms=[replace(TERMS, target="renamed")]), targets=(renamed,), before=before) == []


def test_a_restatement_after_the_credit_changes_nothing() -> None:
    before = tuple(claims())
    assert claims(targets=(replace(TARGET, windows=[week(0, 50, 50), week(1, 1, 1)]),), before=before) == []


@pytest.mark.parametrize(
    ("one", "other", "disjoint"),
    [
        (CHATBOT, SEARCH, True),
        (CHATBOT, CHATBOT, False),
        (CHATBOT, ALL_PODS, False),
        (ALL_PODS, ALL_PODS, False),
        (CHATBOT, {"app": frozenset({"chatbot", "search"})}, False),
        ({"app": frozenset({"a", "b"})}, {"app": frozenset({"c"})}, True),
        ({**CHATBOT, "tier": frozenset({"x"})}, SEARCH, True),
        (CHATBOT, {"tier": frozenset({"x"})}, False),
    ],
)
def test_scopes_are_disjoint_where_one_label_must_have_different_values(
    one: PodScope, other: PodScope, disjoint: bool
) -> None:
    assert are_disjoint(one, other) is disjoint
    assert are_disjoint(other, one) is disjoint


SCOPES: list[PodScope] = [ALL_PODS, CHATBOT, SEARCH]
PODS: tuple[dict[str, str], ...] = ({"app": "chatbot"}, {"app": "search"}, {})
STEPS = st.lists(
    st.tuples(
        st.integers(0, 6),  # days that pass
        st.lists(  # the targets that exist then, and how they are
            st.tuples(st.sampled_from("tuv"), st.sampled_from(SCOPES), st.sampled_from([1, 7]), st.integers(0, 30)),
            max_size=3,
            unique_by=lambda drawn: drawn[0],
        ),
        st.lists(  # the budgets, and what they credit
            st.tuples(
                st.sampled_from("ab"),
                st.sampled_from([Calendar.WEEK, Calendar.MONTH]),
                st.lists(
                    st.builds(
                        CreditTerms, st.sampled_from("tuv"), st.integers(1, 100), st.integers(1, 100), st.integers(1, 3)
                    ),
                    max_size=3,
                ),
            ),
            max_size=2,
            unique_by=lambda drawn: drawn[0],
        ),
        st.integers(-50, 200),  # what a day of a pod saved, as it is stated now
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_over_any_history_no_pods_saving_is_credited_twice_and_no_cap_is_exceeded(
    steps: list[tuple[int, list[tuple[str, PodScope, int, int]], list[tuple[str, Calendar, list[CreditTerms]]], int]],
) -> None:
    now, made = NOVEMBER + 10 * DAY, list[WindowClaim]()
    sums: dict[tuple[str, str, int, str], int] = {}
    for days, targets, budgets, saved in steps:
        now += days * DAY
        live = []
        for name, scope, length, frozen_day in targets:
            windows = [
                SavedWindow(Period(start, start + length * DAY), saved * length, saved * length + 1, 100)
                for start in range(NOVEMBER + DAY, now - length * DAY + 1, length * DAY)
            ][-12:]
            frozen_at = NOVEMBER + frozen_day * DAY
            live.append(CreditableTarget("team", name, frozen_at, OCTOBER, "LocationBased", scope, windows))
        credited = [
            CreditedBudget("team", name, 1000, calendar, UTC, "LocationBased", terms)
            for name, calendar, terms in budgets
        ]
        new = new_claims(credited, live, made, sums, now)
        made += new
        for claim in new:
            key = "team", claim.budget, claim.period.start, claim.target
            sums[key] = sums.get(key, 0) + claim.micrograms
            entries = [terms for name, _, entries in budgets if name == claim.budget for terms in entries]
            assert any(
                terms.target == claim.target and sums[key] <= 1000 * terms.cap_percent // 100 for terms in entries
            )
            assert claim.micrograms > 0
            assert claim.window.end <= now < claim.period.end
            assert claim.window.end <= claim.period.start
    for pod in PODS:
        spans = sorted(
            (claim.window.start, claim.window.end)
            for claim in made
            if all(pod.get(key) in values for key, values in claim.scope.items())
        )
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
