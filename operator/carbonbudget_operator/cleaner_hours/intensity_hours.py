"""The grid's intensity hour by hour, past and forecast, as what a run between two instants is exposed to.

Integers: milligrams of CO2e per kWh, UTC seconds. An exposure is the sum of intensity times seconds over a run, so that
runs of one length and one power compare as their exposures do, without any rounding. An hour without a figure is not
known, and never counts as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

HOUR: Final = 3600
# Of a week of forecast and two weeks of figures: what lies outside is left out, whatever a server sends.
_MOST_HOURS: Final = 30 * 24


class IntensityFigure(NamedTuple):
    """A zone's intensity in one hour; `low_mg` and `high_mg` are its range, equal to it where there is none."""

    start: int
    zone: str
    mg_per_kwh: int
    low_mg: int
    high_mg: int
    is_forecast: bool


class Exposure(NamedTuple):
    """What a run is exposed to: seconds times milligrams per kWh, and the seconds of which nothing is known."""

    unknown_s: int
    mg_s: int
    low_mg_s: int
    high_mg_s: int


@dataclass(frozen=True, slots=True)
class IntensityTimeline:
    """Hours in a row from `first` (UTC seconds, a whole hour); None for one that is not known.

    Of several zones an hour is their mean, and is known if it is known of each.
    """

    first: int
    hours: tuple[tuple[int, int, int] | None, ...]
    """Mean, lowest and highest milligrams per kWh."""
    zones: tuple[str, ...]
    _sums: tuple[tuple[int, ...], ...]
    """Running sums at each hour's start: known seconds, then the three exposures."""

    @property
    def end(self) -> int:
        """The end of the last hour."""
        return self.first + len(self.hours) * HOUR

    def exposure(self, start: int, seconds: int) -> Exposure:
        """The exposure of a run from the UTC second `start`. What lies outside the hours is not known."""
        first, last = self._until(start), self._until(start + seconds)
        known_s = last[0] - first[0]
        return Exposure(seconds - known_s, last[1] - first[1], last[2] - first[2], last[3] - first[3])

    def mean_mg(self, start: int, end: int) -> int | None:
        """The mean over the known hours of a span, rounded down; None where none is known."""
        found = self.exposure(start, end - start)
        known_s = end - start - found.unknown_s
        return found.mg_s // known_s if known_s else None

    def _until(self, at: int) -> tuple[int, ...]:
        """The running sums at an instant."""
        index, rest = divmod(min(max(at, self.first), self.end) - self.first, HOUR)
        sums = self._sums[index]
        if not rest or (hour := self.hours[index]) is None:
            return sums
        return tuple(total + rest * each for total, each in zip(sums, (1, *hour), strict=True))


def intensity_hours(figures: Iterable[IntensityFigure], around: int) -> IntensityTimeline:
    """The hours of the figures within 30 days of the UTC second `around`.

    Of two figures of a zone and hour the first counts: a server lists what it values by in front.
    """
    by_hour: dict[int, dict[str, IntensityFigure]] = {}
    zones: set[str] = set()
    for figure in figures:
        if figure.start % HOUR or abs(figure.start - around) > _MOST_HOURS * HOUR:
            continue
        zones.add(figure.zone)
        by_hour.setdefault(figure.start, {}).setdefault(figure.zone, figure)
    if not by_hour:
        return _with_sums(around - around % HOUR, (), ())
    first = min(by_hour)
    hours = tuple(_mean(by_hour.get(hour, {}), len(zones)) for hour in range(first, max(by_hour) + HOUR, HOUR))
    return _with_sums(first, hours, tuple(sorted(zones)))


def _mean(of_hour: Mapping[str, IntensityFigure], zones: int) -> tuple[int, int, int] | None:
    if len(of_hour) < zones:
        return None
    found = of_hour.values()
    sums = sum(f.mg_per_kwh for f in found), sum(f.low_mg for f in found), sum(f.high_mg for f in found)
    return sums[0] // zones, sums[1] // zones, sums[2] // zones


def _with_sums(first: int, hours: tuple[tuple[int, int, int] | None, ...], zones: tuple[str, ...]) -> IntensityTimeline:
    added = ((0, 0, 0, 0) if hour is None else (HOUR, *(HOUR * each for each in hour)) for hour in hours)
    nothing: tuple[int, ...] = (0, 0, 0, 0)
    return IntensityTimeline(first, hours, zones, tuple(accumulate(added, _plus, initial=nothing)))


def _plus(total: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(total, more, strict=True))
