"""Grid intensity by zone: the line, its source and age, and the greenest hours. Made of `/api/v1/intensity`. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import JsonObject, objects
from carbonbudget_operator.cleaner_hours.forecast_parts import forecast_words
from carbonbudget_operator.web.views.answer_figures import amount, second, utc_text, word

_HOUR: Final = 3_600
_KINDS: Final = {
    "published": "published for the hour",
    "stated": "stated in the settings",
    "standIn": "an earlier hour stands in",
    "yearly": "yearly mean of the bundled tables",
    "forecast": "forecast",
}
GREENEST: Final = 5


@dataclass(frozen=True, slots=True)
class GreenHour:
    """An hour of low intensity, in g CO2e per kWh."""

    when: str
    g_per_kwh: int


@dataclass(frozen=True, slots=True)
class ZoneView:
    """One zone. `points` are (UTC second, mg per kWh) of the figures that value energy, in order of time.

    After the present hour they are forecasts; `ranges` are (UTC second, lowest, highest) of those that have a range.
    `forecast` is where the forecast is from, and until when.
    """

    zone: str
    points: Sequence[tuple[int, int]]
    g_per_kwh: int
    source: str
    kind: str
    when: str
    age_hours: int
    estimated: bool
    green: Sequence[GreenHour]
    green_note: str
    ranges: Sequence[tuple[int, int, int]] = ()
    forecast: str = ""


@dataclass(frozen=True, slots=True)
class PageSource:
    """A source of hourly figures."""

    source: str
    zone: str
    last_answer: str
    failing: bool
    error: str


@dataclass(frozen=True, slots=True)
class ShownForecast:
    """A source's own forecast of a zone. `error_g`: how far it was off on average, None where that is not known."""

    source: str
    zone: str
    until: str
    used: bool
    error: str
    error_g: float | None
    compared_hours: int


def zones(answer: JsonObject, now: int) -> list[ZoneView]:
    """The zones by name. Of an hour with several figures the one that values its energy counts."""
    found: dict[str, dict[int, JsonObject]] = defaultdict(dict)
    for row in objects(answer.get("rows")):
        at = second(row, "start")
        if at is None or not 0 <= _milligrams(row) < 10**9:
            continue
        if row.get("applied") is True or (at > now and at not in found[word(row, "zone")]):
            found[word(row, "zone")][at] = row
    return [_zone(zone, hours, now) for zone, hours in sorted(found.items()) if hours]


def sources(answer: JsonObject) -> list[PageSource]:
    """What the sources last said."""
    return [
        PageSource(
            word(one, "source"), word(one, "zone"), utc_text(second(one, "last_answer")), one.get("failing") is True,
            word(one, "error"),
        )
        for one in objects(answer.get("sources"))
    ]  # fmt: skip


def forecasts(answer: JsonObject) -> list[ShownForecast]:
    """The forecasts of sources, and how good they were."""
    return [
        ShownForecast(
            word(one, "source"), word(one, "zone"), utc_text(second(one, "until")), one.get("used") is True,
            word(one, "error") or ("the latest question failed" if one.get("failing") is True else ""),
            _grams(one.get("mean_error_g_per_kwh")), amount(one, "compared_hours") or 0,
        )
        for one in objects(answer.get("forecasts"))
    ]  # fmt: skip


def _grams(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 10**6:
        return None
    return round(float(value), 1)


def _zone(zone: str, hours: dict[int, JsonObject], now: int) -> ZoneView:
    points = sorted((at, _milligrams(row)) for at, row in hours.items())
    at = max((at for at, _ in points if at <= now), default=points[0][0])
    latest = hours[at]
    age = latest.get("age_hours")
    green, note = _greenest(points, now)
    coming = [(at, hours[at]) for at, _ in points if at > now]
    ranges = [
        (at, low, high) for at, row in coming
        if (low := amount(row, "low_mg_per_kwh")) is not None
        and (high := amount(row, "high_mg_per_kwh")) is not None and 0 <= low <= high < 10**9
    ]  # fmt: skip
    return ZoneView(
        zone, points, _milligrams(latest) // 1000, word(latest, "source"),
        _KINDS.get(word(latest, "kind"), word(latest, "kind")), utc_text(at),
        age if isinstance(age, int) else 0, latest.get("estimated") is True, green, note,
        ranges, forecast_words(((at, word(row, "source")) for at, row in coming), utc_text),
    )  # fmt: skip


def _milligrams(row: JsonObject) -> int:
    """The row's intensity in mg CO2e per kWh; -1 for none."""
    value = amount(row, "mg_per_kwh")
    return -1 if value is None else value


def _greenest(points: Sequence[tuple[int, int]], now: int) -> tuple[list[GreenHour], str]:
    """The lowest hours to come; without a forecast that differs, the lowest hours of the day in the past."""
    coming = sorted((value, at) for at, value in points if at > now)
    if coming and coming[0][0] < coming[-1][0]:
        return [GreenHour(utc_text(at), value // 1000) for value, at in coming[:GREENEST]], "Greenest hours to come"
    by_hour: dict[int, list[int]] = defaultdict(list)
    for at, value in points:
        if at > now:
            break
        by_hour[at // _HOUR % 24].append(value)
    means = sorted((sum(values) // len(values), hour) for hour, values in by_hour.items())
    if len(means) < 24 or means[0][0] == means[-1][0]:
        return [], ""
    return [GreenHour(f"{hour:02}:00 UTC", mean // 1000) for mean, hour in means[:GREENEST]], "Lowest hours of the day"
