"""The charts of a budget: the bar of its use, its cumulative use over the period, and its former periods. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from carbonbudget_operator.budgets.quantity import exact_mass, format_mass
from carbonbudget_operator.web.charts.chart_frame import APART, ChartFrame, level_bar
from carbonbudget_operator.web.charts.svg import day_text, drawing, element, label, line, polyline, ticks

_HEIGHT: Final = 300


@dataclass(frozen=True, slots=True)
class UsePoint:
    """Cumulative use at a UTC second."""

    at: int
    used_ug: int


def use_bar(used_ug: int, limit_ug: int, forecast_ug: int | None, name: str) -> Markup:
    """Use as part of the limit, with a mark at the limit and one at the forecast. Beyond twice the limit it is cut."""
    most = min(2 * limit_ug, max(limit_ug, used_ug, forecast_ug or 0)) or 1
    told = f"{format_mass(used_ug)} of {exact_mass(limit_ug)}"
    if forecast_ug is not None:
        told += f", forecast {format_mass(forecast_ug)}"
    return level_bar(used_ug, most, forecast_ug, limit_ug, told, name)


def burn_up(
    start: int,
    end: int,
    points: Sequence[UsePoint],
    limit_ug: int,
    forecast_ug: int | None,
    title: str,
    range_ug: tuple[int, int] | None = None,
) -> Markup:
    """Cumulative use over [start, end) against limit, even pace and forecast. `points` are in order of time.

    `range_ug` is the forecast's lowest and highest at the end.
    """
    last = points[-1] if points else UsePoint(start, 0)
    if forecast_ug is None:
        range_ug = None
    marks = ticks(max(limit_ug, last.used_ug, forecast_ug or 0, *(range_ug or ())))
    frame = ChartFrame(start, end, marks, _HEIGHT)
    x, y = frame.x, frame.y
    parts = frame.axes(_mark_text)
    parts.append(line(x(start), y(0), x(end), y(limit_ug), "pace"))
    parts.append(line(frame.left, y(limit_ug), frame.width - frame.right, y(limit_ug), "limit"))
    if points:
        drawn = [(x(one.at), y(one.used_ug)) for one in points]
        under = [(drawn[0][0], y(0)), *drawn, (drawn[-1][0], y(0))]
        parts.append(element("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in under), class_="under"))
        parts.append(polyline(drawn, "use"))
        parts.append(element("circle", cx=drawn[-1][0], cy=drawn[-1][1], r=4, class_="use-dot"))
    if range_ug is not None and points:
        corners = ((x(last.at), y(last.used_ug)), (x(end), y(range_ug[1])), (x(end), y(range_ug[0])))
        parts.append(element("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners), class_="range"))
    if forecast_ug is not None and points:
        parts.append(line(x(last.at), y(last.used_ug), x(end), y(forecast_ug), "forecast"))
        parts.append(element("circle", cx=x(end), cy=y(forecast_ug), r=3.5, class_="forecast-dot"))
    parts += frame.end_labels(_ends(frame, limit_ug, forecast_ug))
    described = (
        f"From {day_text(start)} to {day_text(end)}. Used {format_mass(last.used_ug)} of {exact_mass(limit_ug)}"
        + (f", forecast {format_mass(forecast_ug)}" if forecast_ug is not None else ", no forecast")
        + (f", between {format_mass(range_ug[0])} and {format_mass(range_ug[1])}." if range_ug is not None else ".")
    )
    return drawing(frame.width, frame.height, title, described, parts, "burn-up")


def _ends(frame: ChartFrame, limit_ug: int, forecast_ug: int | None) -> Iterator[tuple[float, str, str, str]]:
    """The names of limit and forecast, kept apart where the lines are near each other."""
    limit_y = frame.y(limit_ug)
    yield limit_y, "Limit", exact_mass(limit_ug), "limit-text"
    if forecast_ug is not None:
        at = frame.y(forecast_ug)
        if abs(at - limit_y) < APART:
            at = limit_y + (APART if at >= limit_y else -APART)
        at = min(max(at, frame.top + 6), frame.height - frame.bottom - 14)
        if abs(at - limit_y) < APART - 2:  # at the upper edge: below the limit's
            at = limit_y + APART
        yield at, "Forecast", format_mass(forecast_ug), "forecast-text"


def _mark_text(mark_ug: int) -> str:
    return format_mass(mark_ug) if mark_ug else "0"


def former_periods(periods: Sequence[tuple[int, int, int]], title: str) -> Markup:
    """A bar for each former period, oldest first: (start, used, limit), with a mark at its limit."""
    width, height, left = 880, 150, 64
    marks = ticks(max((max(used, limit) for _, used, limit in periods), default=0), 3)
    inner = height - 34
    slot = min(68.0, (width - left) / max(1, len(periods)))
    parts = []
    for mark in marks:
        y = 8 + inner * (1 - mark / marks[-1])
        parts += [line(left, y, width, y, "rule"), label(_mark_text(mark), left - 8, y + 4, "end")]
    for index, (start, used, limit) in enumerate(periods):
        x, tall = left + slot * index, inner * used / marks[-1]
        tip = element("title", f"From {day_text(start)}: {format_mass(used)} of {exact_mass(limit)}")
        parts.append(
            element("rect", tip, x=x + slot * 0.15, y=8 + inner - tall, width=slot * 0.7, height=max(tall, 0.5),
                    class_="former over" if used >= limit > 0 else "former")
        )  # fmt: skip
        y = 8 + inner * (1 - limit / marks[-1])
        parts.append(line(x + slot * 0.05, y, x + slot * 0.95, y, "limit"))
        parts.append(label(day_text(start), x + slot / 2, height - 8, "middle"))
    over = sum(used >= limit > 0 for _, used, limit in periods)
    return drawing(
        width, height, title, f"{len(periods)} periods; {over} used up their limit.", parts, "former-periods"
    )
