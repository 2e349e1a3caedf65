"""Selects the intensity of a zone for an hour from the hourly sources, which come before the yearly tables. Pure.

Sources give points of any length; an hour is their mean by time. Of an hour that no source has yet, the last
good one stands in for a while: the sentence says so, and the hour is valued again when the figure comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from carbonbudget_operator.carbon.basis_split import other_basis
from carbonbudget_operator.carbon.intensity_text import g_per_kwh

HOUR = 3600
# No grid has more: oil-fired island grids reach some 1,200 g/kWh lifecycle (Electricity Maps).
MAX_MG_PER_KWH = 5_000_000


@dataclass(frozen=True, slots=True)
class IntensityPoint:
    """mgCO2e/kWh over [start, end) UTC seconds. `estimated`: the source marks it as not final."""

    start: int
    end: int
    mg_per_kwh: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class HourIntensity:
    """The figure for an hour in mgCO2e/kWh, its basis, and an explanation of its source.

    `other_mg` is the same source's figure of the same zone and hour by the other basis (direct for lifecycle, lifecycle
    for direct); None where it has none.
    """

    mg_per_kwh: int
    why: str
    basis: str = "lifecycle"
    other_mg: int | None = None


Figure = tuple[int, bool]  # mg/kWh, estimated
Stated = Mapping[str, tuple[int, int | None]]  # by zone: mg/kWh, and the same source's figure of the other basis
Series = Mapping[int, Figure]  # by full hour


def hourly_means(points: Iterable[IntensityPoint]) -> dict[int, Figure]:
    """The time-weighted mean of each full hour that points touch. An hour that is not fully covered is an estimate."""
    weights: dict[int, int] = {}
    sums: dict[int, int] = {}
    guesses: set[int] = set()
    for point in points:
        for hour in range(point.start - point.start % HOUR, point.end, HOUR):
            seconds = min(point.end, hour + HOUR) - max(point.start, hour)
            weights[hour] = weights.get(hour, 0) + seconds
            sums[hour] = sums.get(hour, 0) + seconds * point.mg_per_kwh
            if point.estimated:
                guesses.add(hour)
    return {hour: (sums[hour] // seconds, hour in guesses or seconds < HOUR) for hour, seconds in weights.items()}


class IntensityHours:
    """Known figures by hour: a series for each source and zone."""

    def __init__(
        self,
        series: Mapping[tuple[str, str], Series],
        sources: Mapping[str, str],
        max_age_hours: int,
        basis: str = "lifecycle",
        others: Mapping[tuple[str, str], Series] | None = None,
        stated: Mapping[str, Stated] | None = None,
    ) -> None:
        """`sources` in the order in which they are asked, with the words that a factor has for each.

        `series` is of `basis`, and `others` of the other one: lifecycle or direct. `stated` has the figures of sources
        that the settings state, by name of the source: they hold for every hour, and nothing kept replaces them.
        """
        self._series, self._sources, self._max_age_hours = series, sources, max_age_hours
        self._basis, self._others, self._stated = basis, others or {}, stated or {}

    def find(self, zone: str, at: int) -> HourIntensity | None:
        """The figure of the first source that has the hour, else the first recent earlier figure, else None."""
        hour = at - at % HOUR
        found: list[tuple[str, Series, Series]] = []
        for source, words in self._sources.items():
            if (stated := self._stated.get(source)) is not None:
                if zone in stated:
                    return self._of_settings(words, *stated[zone])
                continue
            series, others = self._series.get((source, zone), {}), self._others.get((source, zone), {})
            found.append((words, series, others))
            if hour in series:
                mg_per_kwh, estimated = series[hour]
                why = f"hourly, {words}{', estimated' if estimated else ''}"
                return HourIntensity(mg_per_kwh, why, self._basis, others.get(hour, (None, False))[0])
        for words, series, others in found:
            for age in range(1, self._max_age_hours + 1):
                if former := series.get(hour - age * HOUR):
                    why = f"hourly, {words}, last good figure, at most {self._max_age_hours} h old"
                    return HourIntensity(former[0], why, self._basis, others.get(hour - age * HOUR, (None, False))[0])
        return None

    def has_own(self, zone: str, at: int, answered_at: Mapping[tuple[str, str], int]) -> bool:
        """Whether the figure that `find` has for the hour is the hour's own, and no other is awaited in its place.

        `answered_at`: by source and zone, the UTC second at which a source that is asked answered last, 0 for never. A
        figure that was fetched before its hour was over may be of a part of it. A later source stands in for an
        earlier one that gave figures recently.
        """
        hour = at - at % HOUR
        for source in self._sources:
            if (stated := self._stated.get(source)) is not None:
                if zone in stated:
                    return True
                continue
            answered = answered_at.get((source, zone))
            if hour in self._series.get((source, zone), {}):
                return answered is None or answered >= hour + HOUR
            if answered and answered >= hour - self._max_age_hours * HOUR:
                return False
        return not any((source, zone) in answered_at for source in self._sources)

    def _of_settings(self, words: str, mg_per_kwh: int, other_mg: int | None) -> HourIntensity:
        """The explanation has the number, because it is the same for all hours of these settings."""
        beside = "" if other_mg is None else f" ({other_basis(self._basis)} {g_per_kwh(other_mg)} g/kWh)"
        return HourIntensity(mg_per_kwh, f"{g_per_kwh(mg_per_kwh)} g/kWh{beside}, {words}", self._basis, other_mg)
