"""Values by time: one is in force at each instant, and a change at T leaves everything before T as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.timeline import BEGINNING, HOUR, Timeline, merge

HOURS = st.integers(1, 1_000_000).map(lambda n: n * HOUR)
INSTANTS = st.integers(-HOUR, 1_000_002 * HOUR)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline[int]:
    starts = (BEGINNING, *sorted(draw(st.sets(HOURS, max_size=6))))
    return Timeline(starts, tuple(draw(st.lists(st.integers(), min_size=len(starts), max_size=len(starts)))))


@given(timelines(), INSTANTS)
def test_the_value_in_force_is_that_of_the_latest_start_that_is_not_later(line: Timeline[int], instant: int) -> None:
    expected = line.values[0]
    for start, value in line:
        if start <= instant:
            expected = value
    assert line.at(instant) == expected


@given(timelines(), st.integers(), INSTANTS, HOURS)
def test_a_later_entry_changes_nothing_before_it(line: Timeline[int], value: int, instant: int, hour: int) -> None:
    start = line.starts[-1] + hour
    longer = Timeline((*line.starts, start), (*line.values, value))
    assert longer.at(instant) == (line.at(instant) if instant < start else value)


@given(timelines(), INSTANTS)
def test_one_value_is_in_force_for_a_whole_hour(line: Timeline[int], instant: int) -> None:
    hour = instant - instant % HOUR
    assert {line.at(hour + second) for second in (0, 1, HOUR // 2, HOUR - 1)} == {line.at(hour)}


@given(timelines(), INSTANTS, st.integers(1, 2_000_000))
def test_all_that_is_in_force_within_a_span_is_what_is_at_its_instants(
    line: Timeline[int], start: int, seconds: int
) -> None:
    end = start + seconds
    looked_at = [start, *(at for at in line.starts[1:] if start < at < end)]
    assert line.within(start, end) == [line.at(at) for at in looked_at]


@given(timelines(), timelines(), INSTANTS)
def test_merged_timelines_have_the_values_of_both(one: Timeline[int], other: Timeline[int], instant: int) -> None:
    assert merge(one, other).at(instant) == (one.at(instant), other.at(instant))


@given(timelines())
def test_spans_follow_one_another_without_a_gap(line: Timeline[int]) -> None:
    spans = list(line.spans())
    assert [start for start, _, _ in spans] == [BEGINNING, *(end for _, end, _ in spans[:-1])]
    assert [value for _, _, value in spans] == list(line.values)


@pytest.mark.parametrize(
    ("starts", "values"),
    [((), ()), ((HOUR,), (1,)), ((0, 0), (1, 2)), ((0, 5), (1, 2)), ((0, 2 * HOUR, HOUR), (1, 2, 3)), ((0,), (1, 2))],
)
def test_what_is_no_timeline_is_refused(starts: tuple[int, ...], values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"value"):
        Timeline(starts, values)
