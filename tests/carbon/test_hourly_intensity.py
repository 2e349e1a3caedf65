"""Hours of points, and which figure stands for an hour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.carbon.intensity.hourly_intensity import (
    HourIntensity,
    IntensityHours,
    IntensityPoint,
    hourly_means,
)

HOUR = 1_764_000_000
POINT = st.builds(
    lambda at, length, value, guess: IntensityPoint(HOUR + at, HOUR + at + length, value, guess),
    st.integers(0, 20_000), st.integers(1, 10_000), st.integers(0, 10**6), st.booleans(),
)  # fmt: skip

SOURCES = {"first": "first", "second": "the second"}


@given(st.lists(POINT, max_size=8))
def test_an_hours_figure_lies_between_its_points_and_is_final_only_when_all_of_it_is(
    points: list[IntensityPoint],
) -> None:
    for hour, (mg_per_kwh, estimated) in hourly_means(points).items():
        touching = [p for p in points if p.start < hour + 3600 and p.end > hour]
        values = [point.mg_per_kwh for point in touching]
        assert min(values) <= mg_per_kwh <= max(values)
        if any(point.estimated for point in touching):
            assert estimated
        if sum(min(p.end, hour + 3600) - max(p.start, hour) for p in touching) < 3600:
            assert estimated


def test_an_hour_is_the_mean_by_time() -> None:
    points = [IntensityPoint(HOUR, HOUR + 900, 100_000), IntensityPoint(HOUR + 900, HOUR + 3600, 200_000)]
    assert hourly_means(points) == {HOUR: (175_000, False)}


@pytest.mark.parametrize(
    ("at", "found"),
    [
        (HOUR + 1800, HourIntensity(300_000, "hourly, first")),
        (
            HOUR + 3600,
            HourIntensity(210_000, "hourly, the second, estimated"),
        ),  # the hour itself before an older one
        (HOUR + 7200, HourIntensity(300_000, "hourly, first, last good figure, at most 3 h old")),
        (HOUR + 4 * 3600, HourIntensity(210_000, "hourly, the second, last good figure, at most 3 h old")),
        (HOUR + 5 * 3600, None),
        (HOUR - 3600, None),
    ],
)
def test_the_first_source_that_has_the_hour_then_the_last_good_figure_then_none(
    at: int, found: HourIntensity | None
) -> None:
    series = {
        ("first", "DE"): {HOUR: (300_000, False)},
        ("second", "DE"): {HOUR: (200_000, False), HOUR + 3600: (210_000, True)},
        ("other", "DE"): {HOUR + 7200: (1, False)},  # not configured any more
    }
    assert IntensityHours(series, SOURCES, 3).find("DE", at) == found
    assert IntensityHours(series, SOURCES, 3).find("FR", at) is None
