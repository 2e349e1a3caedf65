"""A count of a span is spread over hours so that nothing is lost or made."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.units.spread_count import spread_count

HOUR = 3600
MS = HOUR * 1000
spans = st.tuples(st.integers(0, 20 * MS), st.integers(0, 20 * MS)).map(lambda pair: (min(pair), max(pair)))


@given(st.integers(0, 10**18), spans)
def test_all_hours_together_have_the_whole_count(micro: int, span: tuple[int, int]) -> None:
    assert sum(part for _, part in spread_count(micro, *span, 0, 21 * HOUR)) == micro


@given(st.integers(0, 10**18), spans, st.integers(0, 10), st.integers(10, 21))
def test_each_hour_has_its_part_in_time_to_a_millionth_whichever_hours_are_asked_for(
    micro: int, span: tuple[int, int], first: int, end: int
) -> None:
    whole = dict(spread_count(micro, *span, 0, 21 * HOUR))
    some = dict(spread_count(micro, *span, first * HOUR, end * HOUR))
    assert some == {hour: part for hour, part in whole.items() if first * HOUR <= hour < end * HOUR}
    start, stop = span
    for hour, part in whole.items() if stop > start else ():
        overlap = min(stop, hour * 1000 + MS) - max(start, hour * 1000)
        assert abs(part - Fraction(micro * overlap, stop - start)) < 1
