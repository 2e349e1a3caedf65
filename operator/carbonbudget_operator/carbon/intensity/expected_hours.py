"""The hours of a forecast that a source published: checked as a series, and made full hours. Pure.

A forecast decides when work runs, so one that contradicts itself is refused as a whole, and the profile of past weeks
stays in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from carbonbudget_operator.carbon.intensity.hourly_intensity import HOUR, IntensityPoint
from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySourceError
from carbonbudget_operator.carbon.intensity.response_fields import iso

MOST_HOURS_AHEAD: Final = 7 * 24


def expected_hours(source: str, points: Sequence[IntensityPoint], start: int) -> dict[int, int]:
    """mgCO2e/kWh by full hour from the UTC second `start` (a full hour) on, seven days at most.

    Points shorter than an hour are averaged. An hour that they do not cover wholly is left out. Raises
    IntensitySourceError for points that overlap, repeat, run backwards or lie across the edge of an hour, and where no
    hour is left.
    """
    end = start + MOST_HOURS_AHEAD * HOUR
    seconds: dict[int, int] = {}
    sums: dict[int, int] = {}
    before: IntensityPoint | None = None
    for point in points:
        if before is not None and point.start < before.end:
            what = "repeats" if point.start == before.start else "is not in order at"
            raise IntensitySourceError(f"{source}: the forecast {what} {iso(point.start)}")
        before = point
        hour = point.start - point.start % HOUR
        if point.end > hour + HOUR:
            raise IntensitySourceError(f"{source}: a forecast figure begins at {iso(point.start)}, not at a full hour")
        if start <= hour < end:
            seconds[hour] = seconds.get(hour, 0) + point.end - point.start
            sums[hour] = sums.get(hour, 0) + (point.end - point.start) * point.mg_per_kwh
    found = {hour: sums[hour] // HOUR for hour, length in seconds.items() if length == HOUR}
    if not found:
        raise IntensitySourceError(f"{source}: the forecast has no hour from {iso(start)} on")
    return found
