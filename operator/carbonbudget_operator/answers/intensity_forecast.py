"""Forecasts of the grid's intensity: what each zone's hours to come are expected to be valued by.

Where the zone's source publishes a forecast of the hour, it is that one, while it is fresh. Where the settings state a
figure for the hour, it is that one. Else it is the mean of the same hour of the week over the last two to four weeks of
the figures that valued energy; with less than two weeks of them, the mean of all of them; without any, the yearly
figure. A forecast values nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from carbonbudget_operator.answers.grid_intensity import ZoneIntensity, grid_intensity, stated_intensity
from carbonbudget_operator.answers.source_forecasts import SourceForecasts
from carbonbudget_operator.answers.window_parser import DAY, Range
from carbonbudget_operator.budgets.forecast import MOST_HOURS, hours_of_week
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

FORECAST_DAYS: Final = 7
_WEEK_HOURS: Final = 7 * 24


@dataclass(frozen=True, slots=True)
class _Past:
    """A zone's figures of the past hours, None where no source had one; `latest` are those of the latest hour."""

    mg_per_kwh: Sequence[int | None]
    is_published: bool
    basis: str
    latest: Sequence[ZoneIntensity]


def forecast_end(window: Range, now: int) -> int | None:
    """The end of the hours of a window that have not begun at `now`, seven days ahead at most; None without one."""
    end = min(-(-window[1] // HOUR) * HOUR, _next_hour(now) + FORECAST_DAYS * DAY)
    return end if end > max(_next_hour(now), window[0] - window[0] % HOUR) else None


def intensity_forecast(
    reader: ValuedReader, zones: Collection[str], window: Range, now: int
) -> Iterator[ZoneIntensity]:
    """A row for each hour of the window that has not begun at the UTC second `now`, in order of hour and zone.

    Hours of a source's forecast have no range. `received` of such a row is when the forecast was fetched.
    """
    end, begun = forecast_end(window, now), _next_hour(now)
    if end is None:
        return
    first = begun - MOST_HOURS * HOUR
    past = _past(reader, zones, first, begun, now)
    weeks = {zone: hours_of_week(first, found.mg_per_kwh) for zone, found in past.items()}
    forecasts = SourceForecasts(reader, zones, now)
    for hour in range(max(begun, window[0] - window[0] % HOUR), end, HOUR):
        for zone in sorted(zones):
            published = forecasts.find(zone, hour)
            if published is not None and not published.is_too_old:
                row = _row(hour, zone, past[zone].basis, f"forecast of {published.source}", [published.mg_per_kwh])
                yield replace(row, received=published.fetched_at)
                continue
            note = "" if published is None else f"; the forecast of {published.source} is too old"
            for row in _of_past(reader, hour, zone, past[zone], weeks[zone]):
                yield replace(row, source=row.source + note)


def usual_weeks(
    reader: ValuedReader, zones: Collection[str], begun: int, now: int
) -> dict[str, list[list[int]] | None]:
    """By zone the figures of each hour of the week in the weeks before `begun`, as `hours_of_week` has them."""
    first = begun - MOST_HOURS * HOUR
    past = _past(reader, zones, first, begun, now)
    return {zone: hours_of_week(first, its.mg_per_kwh) for zone, its in past.items()}


def _of_past(
    reader: ValuedReader, hour: int, zone: str, its: _Past, week: Sequence[Sequence[int]] | None
) -> Iterator[ZoneIntensity]:
    """What the settings and the past say of an hour to come."""
    known = [mg for mg in its.mg_per_kwh if mg is not None]
    stated = None if its.is_published else stated_intensity(reader.terms.at(hour), zone, hour)
    if stated is not None:
        yield _row(hour, zone, stated.basis, stated.source, [stated.mg_per_kwh])
    elif week is not None:
        words = "mean of this hour of the week in the last weeks"
        yield _row(hour, zone, its.basis, words, week[hour // HOUR % _WEEK_HOURS])
    elif known:
        yield _row(hour, zone, its.basis, f"mean of the {len(known)} hours that are known", known)
    else:
        for one in its.latest:
            yield replace(one, start=hour, kind="forecast", applied=False, received=None)


def _past(reader: ValuedReader, zones: Collection[str], first: int, end: int, now: int) -> dict[str, _Past]:
    hours: dict[str, list[int | None]] = {zone: [None] * ((end - first) // HOUR) for zone in zones}
    latest: dict[str, list[ZoneIntensity]] = {zone: [] for zone in zones}
    published, basis = set(), reader.terms.at(now).carbon.basis
    for row in grid_intensity(reader, zones, (first, end), now):
        if not row.applied:
            continue
        if row.kind in ("published", "stated"):
            hours[row.zone][(row.start - first) // HOUR] = row.mg_per_kwh
        if row.kind == "published":
            published.add(row.zone)
        if row.start == end - HOUR:
            latest[row.zone].append(row)
    return {zone: _Past(hours[zone], zone in published, basis, latest[zone]) for zone in zones}


def _row(hour: int, zone: str, basis: str, words: str, figures: Sequence[int]) -> ZoneIntensity:
    """The mean of the figures, and their range where there are several."""
    low, high = (min(figures), max(figures)) if len(figures) > 1 else (None, None)
    mean = sum(figures) // len(figures)
    return ZoneIntensity(hour, zone, words, basis, mean, "forecast", False, 0, None, False, low, high)


def _next_hour(now: int) -> int:
    """The first hour that has not begun before `now`: `grid_intensity` has those before it."""
    return -(-now // HOUR) * HOUR
