"""A counter at the edges of windows: bounded by what was measured, and in all far closer than an even pace."""

from __future__ import annotations

import random
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.spans.window_readings import edge_readings

WINDOW_MS = 1_000
PACES = st.lists(st.integers(0, 50), min_size=40, max_size=80)  # growth in each tenth of a window


def true_counter(paces: list[int], began: int) -> list[int]:
    """The counter at each tenth of a window."""
    return list(accumulate(paces, initial=began))


def windows(paces: list[int]) -> list[tuple[int, int, int]]:
    return [
        (index * WINDOW_MS, (index + 1) * WINDOW_MS, sum(paces[index * 10 : index * 10 + 10]))
        for index in range(len(paces) // 10)
    ]


@given(PACES, st.integers(0, 10**9), st.sets(st.integers(0, 40), min_size=2))
def test_a_reading_at_an_edge_lies_between_its_neighbours_and_leaves_each_window_what_was_measured_in_it(
    paces: list[int], began: int, tenths: set[int]
) -> None:
    counter, amounts = true_counter(paces, began), windows(paces)
    readings = [(tenth * 100, counter[tenth]) for tenth in sorted(tenths)]
    found = edge_readings(readings, amounts)
    joined = sorted({*readings, *found})
    assert all(one[1] <= other[1] for one, other in pairwise(joined))
    at = dict(joined)
    # Once readings bound the constant closer than agents cut windows, no more of them are looked at: up to the growth
    # in 50 ms, edges that are estimated by different readings may differ.
    late = 50 * sum(amount for _, _, amount in amounts) // (len(amounts) * WINDOW_MS) + 1
    for start_ms, end_ms, amount in amounts:
        if start_ms in at and end_ms in at:
            assert abs(at[end_ms] - at[start_ms] - amount) <= late


def edges_that_are_worse_than_an_even_pace(chance: random.Random) -> tuple[int, int, int, int]:
    """How many edges are farther from the true counter than an even pace has them, of how many; both sums of errors."""
    paces = [chance.choice((0, 0, 5, 20, 50)) for _ in range(400)]
    counter = true_counter(paces, 0)
    readings = [(tenth * 100, counter[tenth]) for tenth in sorted(chance.sample(range(401), 30))]
    worse = count = error = even_error = 0
    for at_ms, value in edge_readings(readings, windows(paces)):
        (before_ms, smaller), (after_ms, larger) = next(
            (one, other) for one, other in pairwise(readings) if one[0] < at_ms < other[0]
        )
        even = smaller + (larger - smaller) * (at_ms - before_ms) // (after_ms - before_ms)
        true = counter[at_ms // 100]
        worse, count = worse + (abs(value - true) > abs(even - true)), count + 1
        error, even_error = error + abs(value - true), even_error + abs(even - true)
    return worse, count, error, even_error


def test_edges_are_far_closer_to_the_true_counter_than_an_even_pace_has_them() -> None:
    worlds = [edges_that_are_worse_than_an_even_pace(random.Random(seed)) for seed in range(30)]
    worse, count, error, even_error = map(sum, zip(*worlds, strict=True))
    assert count > 800
    assert worse < count // 10
    assert error < even_error // 10


@given(PACES, st.integers(0, 10**9))
def test_readings_at_a_window_s_start_make_all_later_edges_exact(paces: list[int], began: int) -> None:
    counter, last = true_counter(paces, began), len(paces) // 10 * 10
    found = edge_readings([(0, counter[0]), (last * 100, counter[last])], windows(paces))
    assert found == [(edge * 1_000, counter[edge * 10]) for edge in range(1, last // 10)]


def test_an_edge_has_what_the_window_before_it_can_have_at_most() -> None:
    """10 were measured before the edge, 50 after it. An even pace from 5 to 35 would be 20 at the edge."""
    found = edge_readings([(500, 5), (1_500, 35)], [(0, 1_000, 10), (1_000, 2_000, 50)])
    assert found == [(1_000, 15)]


def test_an_edge_that_is_a_reading_or_outside_all_readings_gets_none() -> None:
    amounts = [(0, 1_000, 10), (1_000, 2_000, 10), (2_000, 3_000, 10)]
    assert edge_readings([(1_000, 10), (1_500, 15)], amounts) == []


def test_a_gap_between_windows_is_not_bridged() -> None:
    assert edge_readings([(500, 5), (2_500, 15)], [(0, 1_000, 10), (2_000, 3_000, 10)]) == []


def test_counters_that_fall_or_are_of_another_pod_say_nothing_about_edges() -> None:
    amounts = [(0, 1_000, 10), (1_000, 2_000, 10)]
    assert edge_readings([(500, 50), (1_500, 40)], amounts) == []
    assert edge_readings([(500, 0), (1_500, 400)], amounts) == []


def test_windows_that_were_cut_a_moment_late_still_bound_an_edge() -> None:
    """The contradiction of 1 in 2,000 is halved."""
    amounts = [(0, 1_000, 999), (1_000, 2_000, 1_001)]
    assert edge_readings([(0, 0), (1_000, 1_000), (1_500, 1_001), (2_000, 2_000)], amounts) == []
    assert edge_readings([(0, 0), (1_999, 2_001)], amounts) == [(1_000, 999)]
