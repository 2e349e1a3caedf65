"""Windows by name and the steps that divide them."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.answers.window_parser import (
    DAY,
    LONGEST_DAYS,
    STEPS,
    Step,
    WindowError,
    before,
    check_window,
    parse_instant,
    parse_window,
    steps_of,
)
from carbonbudget_operator.ledger.time_slices import HOUR


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


NOW = at("2026-03-04 10:30:00")  # a Wednesday


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("today", "2026-03-04", "2026-03-04 10:30"),
        ("yesterday", "2026-03-03", "2026-03-04"),
        ("week", "2026-03-02", "2026-03-04 10:30"),
        ("lastweek", "2026-02-23", "2026-03-02"),
        ("month", "2026-03-01", "2026-03-04 10:30"),
        ("lastmonth", "2026-02-01", "2026-03-01"),
        ("7d", "2026-02-25 10:30", "2026-03-04 10:30"),
        ("12h", "2026-03-03 22:30", "2026-03-04 10:30"),
        ("2w", "2026-02-18 10:30", "2026-03-04 10:30"),
        ("2026-01-01,2026-02-01", "2026-01-01", "2026-02-01"),
        ("2026-01-01T00:00:00Z,2026-01-01T02:00:00+01:00", "2026-01-01", "2026-01-01 01:00"),
    ],
)
def test_a_window_is_named_as_in_opencost(text: str, start: str, end: str) -> None:
    assert parse_window(text, NOW) == (at(start), at(end))


def test_last_month_of_january_is_december() -> None:
    assert parse_window("lastmonth", at("2026-01-15")) == (at("2025-12-01"), at("2026-01-01"))


@pytest.mark.parametrize(
    "text", ["", "soon", "7m", "0d", "-1d", "7d ", "999999d", "a,b", "2026-01-01,", "\u0667d", "1e9,2e9"]
)
def test_what_is_no_window_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(WindowError, match="write"):
        parse_window(text, NOW)


@pytest.mark.parametrize(
    "text",
    ["99999999999999", "-5", "1969-12-31", "9999-12-31T23:59:59-24:00", "\u0663", "NaN", ""],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(WindowError, match="write"):
        parse_instant(text)


@pytest.mark.parametrize("step", STEPS)
def test_a_window_too_long_for_its_step_names_the_step_that_can_have_it(step: Step) -> None:
    longest = LONGEST_DAYS[step] * DAY
    check_window((0, longest), step)
    with pytest.raises(WindowError, match=f"at most {LONGEST_DAYS[step]} days: (use step=|ask about a shorter window)"):
        check_window((0, longest + 1), step)


@pytest.mark.parametrize("window", [(5, 5), (6, 5)])
def test_an_empty_window_is_refused(window: tuple[int, int]) -> None:
    with pytest.raises(WindowError, match="ends before it starts"):
        check_window(window, "all")


@given(st.integers(0, 2**31), st.integers(1, 30 * DAY), st.sampled_from(STEPS))
def test_the_steps_of_a_window_are_the_window(start: int, length: int, step: Step) -> None:
    parts = steps_of((start, start + length), step)
    assert parts[0][0] == start
    assert parts[-1][1] == start + length
    assert all(end == then for (_, end), (then, _) in pairwise(parts))
    assert all(begin < end for begin, end in parts)


@given(st.integers(0, 2**31), st.integers(1, 400 * DAY))
def test_inner_borders_are_those_of_the_calendar(start: int, length: int) -> None:
    for step, wanted in (("day", "%H:%M:%S"), ("week", "%u %H:%M:%S"), ("month", "%d %H:%M:%S")):
        for _, border in steps_of((start, start + length), step)[:-1]:  # type: ignore[arg-type] # a step's name
            text = dt.datetime.fromtimestamp(border, dt.UTC).strftime(wanted)
            assert text == {"day": "00:00:00", "week": "1 00:00:00", "month": "01 00:00:00"}[step]
    assert all(border % HOUR == 0 for _, border in steps_of((start, start + min(length, DAY)), "hour")[:-1])


def test_the_window_before_has_the_same_length_and_ends_where_it_starts() -> None:
    assert before((100, 130)) == (70, 100)
