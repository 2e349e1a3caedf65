"""What a path expects when."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from tests.targets.figures import BY, DAY, LINEAR, START, some_paths

from carbonbudget_operator.targets.reduction_path import ReductionPath


def test_a_linear_path_asks_for_half_of_the_reduction_at_half_time() -> None:
    assert LINEAR.reduction((START + BY) // 2) == 10
    assert LINEAR.expected(Fraction(1000), (START + BY) // 2) == 900


def test_before_it_begins_nothing_is_expected_and_after_its_end_all() -> None:
    assert [LINEAR.reduction(at) for at in (0, START, BY, BY + 1, BY + 10**9)] == [0, 0, 20, 20, 20]


def test_a_stepped_path_asks_for_the_last_step_that_has_come() -> None:
    path = ReductionPath("Stepped", START, BY, 20, ((START + DAY, 5), (START + 3 * DAY, 12)))
    days = (0, 1, 2, 3, 99, 100)
    assert [path.reduction(START + day * DAY) for day in days] == [0, 5, 5, 12, 12, 20]


def test_a_path_at_the_end_asks_for_nothing_before() -> None:
    path = ReductionPath("AtEnd", START, BY, 20)
    assert [path.reduction(at) for at in (START, BY - 1, BY)] == [0, 0, 20]


def test_a_target_whose_end_is_before_its_creation_asks_for_all_at_once() -> None:
    assert ReductionPath("Linear", BY, START, 20).reduction(START) == 20


@given(some_paths(), st.integers(0, 2**33), st.integers(0, 2**33), st.integers(0, 10**15))
def test_a_path_never_rises_and_stays_between_baseline_and_target(
    path: ReductionPath, one: int, other: int, baseline: int
) -> None:
    earlier, later = sorted((one, other))
    rate = Fraction(baseline)
    assert path.final(rate) <= path.expected(rate, later) <= path.expected(rate, earlier) <= rate
