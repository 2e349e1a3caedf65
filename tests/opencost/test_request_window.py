"""OpenCost's windows and steps: which span each word means, and that steps add up to the window."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.answers.window_parser import WindowError
from carbonbudget_operator.opencost.request_window import MAX_STEPS, request_window, step_seconds, steps_within


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


NOW = at("2025-11-26T10:17:30")  # a Wednesday


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("today", "2025-11-26", "2025-11-27"),
        ("yesterday", "2025-11-25", "2025-11-26"),
        ("week", "2025-11-23", "2025-11-26T10:17:30"),
        ("lastweek", "2025-11-16", "2025-11-23"),
        ("month", "2025-11-01", "2025-11-26T10:17:30"),
        ("lastmonth", "2025-10-01", "2025-11-01"),
        ("7d", "2025-11-20", "2025-11-27"),
        ("24h", "2025-11-25T11:00", "2025-11-26T11:00"),
        ("30m", "2025-11-26T09:48", "2025-11-26T10:18"),
        ("2w", "2025-11-13", "2025-11-27"),
        ("1d offset 2d", "2025-11-23T10:17:30", "2025-11-24T10:17:30"),
        ("2025-11-01T00:00:00Z,2025-11-03T06:00:00Z", "2025-11-01", "2025-11-03T06:00"),
        ("1764000000,1764003600", "2025-11-24T16:00", "2025-11-24T17:00"),
        ("1764000000-1764003600", "2025-11-24T16:00", "2025-11-24T17:00"),
    ],
)
def test_a_window_is_the_span_that_opencost_means(text: str, start: str, end: str) -> None:
    assert request_window(text, NOW) == (at(start), at(end))


def test_a_week_starts_on_sunday_also_when_it_is_sunday() -> None:
    sunday = at("2025-11-23T08:00")
    assert request_window("week", sunday) == (at("2025-11-23"), sunday)
    assert request_window("lastweek", sunday) == (at("2025-11-16"), at("2025-11-23"))


@pytest.mark.parametrize(
    "text", ["soon", "0d", "7y", "d", "5,4", "2025-11-03T00:00:00Z,2025-11-01T00:00:00Z", "999999w"]
)
def test_what_is_no_window_is_an_error(text: str) -> None:
    with pytest.raises(WindowError):
        request_window(text, NOW)


@pytest.mark.parametrize("text", ["30m", "0h", "fortnight", "1.5h", "-1d"])
def test_a_step_is_whole_hours(text: str) -> None:
    with pytest.raises(WindowError, match="step"):
        step_seconds(text)


@given(
    st.integers(0, 2_000), st.integers(1, 800),
    st.sampled_from([3_600, 7_200, 86_400, 604_800, "hour", "day", "week", "month", "quarter", None]),
)  # fmt: skip
def test_steps_add_up_to_the_window(first: int, hours: int, step: int | str | None) -> None:
    window = (at("2024-01-01") + first * 3_600, at("2024-01-01") + (first + hours) * 3_600)
    steps = steps_within(window, step)  # type: ignore[arg-type] # one of the words
    assert steps[0][0] == window[0]
    assert steps[-1][1] == window[1]
    assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(steps))
    assert all(start < end for start, end in steps)
    assert len(steps) <= MAX_STEPS


@pytest.mark.parametrize(
    ("unit", "starts"),
    [
        ("week", ["2025-11-20", "2025-11-23", "2025-11-30", "2025-12-07", "2025-12-14", "2025-12-21", "2025-12-28"]),
        ("month", ["2025-11-20", "2025-12-01"]),
        ("quarter", ["2025-11-20"]),
    ],
)
def test_calendar_steps_begin_at_their_borders(unit: str, starts: list[str]) -> None:
    window = (at("2025-11-20"), at("2026-01-01"))
    assert [start for start, _ in steps_within(window, unit)] == [at(start) for start in starts]  # type: ignore[arg-type]


def test_a_window_with_too_many_steps_is_an_error_that_says_what_to_do() -> None:
    window = (at("2024-01-01"), at("2026-01-01"))
    with pytest.raises(WindowError, match="use step=week"):
        steps_within(window, 86_400)
    with pytest.raises(WindowError, match="at most 35 days"):
        steps_within(window, 3_600)
