"""A count over more than a day is cut into days, because the server takes no longer one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget.span_encoding import day_parts

DAY_MS = 86_400_000


@given(st.integers(1, 2**53 - 1), st.integers(0, 2**41), st.integers(0, 40 * DAY_MS))
def test_the_parts_add_up_and_none_is_longer_than_a_day(count: int, start_ms: int, length_ms: int) -> None:
    parts = list(day_parts(count, start_ms, start_ms + length_ms))
    assert sum(number for number, _, _ in parts) == count
    assert all(number > 0 and 0 <= end_ms - first_ms <= DAY_MS for number, first_ms, end_ms in parts)
    assert all(before[2] <= after[1] for before, after in pairwise(parts))
    assert (parts[-1][2], parts[0][1] >= start_ms) == (start_ms + length_ms, True)


def test_a_count_of_a_day_is_one_part() -> None:
    assert list(day_parts(7, 5, 5 + DAY_MS)) == [(7, 5, 5 + DAY_MS)]
    assert list(day_parts(6, 0, 3 * DAY_MS)) == [(2, n * DAY_MS, (n + 1) * DAY_MS) for n in range(3)]
