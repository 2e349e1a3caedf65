"""The steps that were done, joined into intervals that are long enough to be measured."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.spans.done_steps import Interval, Mark, last_intervals, marks_of_steps, newest_count

MINUTE = 60_000
posts = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 1000), st.integers(1, 1000)), max_size=30)


def test_long_steps_are_one_interval_each_with_what_is_between_them() -> None:
    marks = marks_of_steps([(0, 100_000), (100_000, 200_000), (230_000, 330_000)])
    assert last_intervals(marks, 10) == [
        Interval(0, 100_000, 1), Interval(100_000, 200_000, 1), Interval(200_000, 330_000, 1),
    ]  # fmt: skip


def test_before_a_pause_the_first_step_is_left_out_unless_it_is_the_only_one() -> None:
    marks = marks_of_steps([(0, 100_000), (130_000, 230_000), (260_000, 360_000)])
    assert last_intervals(marks, 10) == [Interval(100_000, 230_000, 1), Interval(230_000, 360_000, 1)]
    assert last_intervals(marks_of_steps([(0, 100_000)]), 10) == [Interval(0, 100_000, 1)]


def test_short_steps_are_joined_to_a_window_and_what_is_left_joins_the_first() -> None:
    marks = marks_of_steps([(at, at + 20_000) for at in range(0, 140_000, 20_000)])
    assert last_intervals(marks, 10) == [Interval(0, 80_000, 4), Interval(80_000, 140_000, 3)]
    assert last_intervals(marks, 1) == [Interval(80_000, 140_000, 3)]
    assert last_intervals(marks[:2], 10) == [Interval(0, 20_000, 1)]


def test_steps_side_by_side_count_by_their_ends() -> None:
    marks = marks_of_steps([(0, 2 * MINUTE), (0, 2 * MINUTE), (MINUTE, 3 * MINUTE)])
    assert last_intervals(marks, 10) == [Interval(0, 2 * MINUTE, 2), Interval(2 * MINUTE, 3 * MINUTE, 1)]


def test_a_step_without_length_and_no_step_make_no_interval() -> None:
    assert marks_of_steps([(5, 5), (9, 7)]) == []
    assert last_intervals([], 3) == last_intervals([Mark(1, 1)], 3) == []


def test_posts_may_jump_and_come_in_any_order() -> None:
    told = [(2 * MINUTE, 90, 500), (0, 10, 500), (MINUTE, 40, 500)]
    assert last_intervals(newest_count(told), 10) == [Interval(0, MINUTE, 30), Interval(MINUTE, 2 * MINUTE, 50)]


def test_a_count_that_falls_begins_anew() -> None:
    assert newest_count([(1, 10, 99), (2, 20, 99), (3, 15, 99), (4, 18, 99)]) == [Mark(3, 15), Mark(4, 18)]


def test_after_a_complete_count_a_higher_one_is_another_training() -> None:
    assert newest_count([(1, 2, 3), (2, 3, 3), (9, 5, 100), (10, 7, 100)]) == [Mark(9, 5), Mark(10, 7)]


def test_another_total_alone_begins_no_count() -> None:
    assert newest_count([(1, 2, 30), (2, 3, 40), (3, 5, 20)]) == [Mark(1, 2), Mark(2, 3), Mark(3, 5)]


@given(posts, st.integers(1, 8), st.integers(0, 10**6))
def test_intervals_of_any_posts_follow_each_other_and_have_time_and_steps(
    told: list[tuple[int, int, int]], most: int, least_ms: int
) -> None:
    marks = newest_count(told)
    found = last_intervals(marks, most, least_ms)
    assert len(found) <= most
    assert all(its.end_ms > its.start_ms and its.steps > 0 for its in found)
    assert all(one.end_ms == next_.start_ms for one, next_ in pairwise(found))
    assert all(its.end_ms - its.start_ms >= least_ms for its in found[1:])
    if found:
        assert found[-1].end_ms == marks[-1].at_ms
