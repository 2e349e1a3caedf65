"""A count of a span is spread over hours so that nothing is lost or made."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.units.spread_count import hours_touched, spread_count

HOUR = 3600
MS = HOUR * 1000
spans = st.tuples(st.integers(0, 20 * MS), st.integers(0, 20 * MS)).map(lambda pair: (min(pair), max(pair)))


@given(st.integers(0, 10**18), spans)
def test_all_hours_together_have_the_whole_count(micro: int, span: tuple[int, int]) -> None:
    assert sum(part for _, part in spread_count(micro, *span)) == micro


@given(st.integers(0, 10**18), spans)
def test_each_hour_has_its_part_in_time_to_a_millionth(micro: int, span: tuple[int, int]) -> None:
    start, stop = span
    for hour, part in spread_count(micro, *span) if stop > start else ():
        overlap = min(stop, hour * 1000 + MS) - max(start, hour * 1000)
        assert abs(part - Fraction(micro * overlap, stop - start)) < 1


@given(spans)
def test_a_count_costs_as_much_as_the_hours_that_it_touches(span: tuple[int, int]) -> None:
    assert hours_touched(*span) == len(list(spread_count(10**18, *span)))
