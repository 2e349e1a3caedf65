"""Grid intensity over time as a line, its forecast with a range, and the lowest hour marked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from carbonbudget_operator.web.charts.chart_frame import ChartFrame
from carbonbudget_operator.web.charts.svg import drawing, element, line, polyline, ticks

_HEIGHT, _TOP = 170, 10
_HOUR: Final = 3_600
_MOST_STEPS: Final = 400
NARROW: Final = (44, 10)  # what is left free at the left and at the right
BELOW_USE: Final = (64, 92)  # as the chart of a budget's use has it, so that the hours of both are below each other


def intensity_line(
    points: Sequence[tuple[int, int]],
    now: int | None,
    name: str,
    title: str,
    ranges: Sequence[tuple[int, int, int]] = (),
    span: tuple[int, int] | None = None,
    margins: tuple[int, int] = NARROW,
) -> Markup:
    """Hours (UTC second, mg CO2e per kWh) in order. What lies after `now` is dashed. There must be a point.

    `ranges` are (UTC second, lowest, highest) of hours to come. `span` is the time that is drawn, where it is not that
    of the points.
    """
    start, end = span or (points[0][0], points[-1][0] + _HOUR)
    highest = max([value for _, value in points] + [high for _, _, high in ranges])
    marks = ticks(max(1, -(-highest // 1000)), 3)
    frame = ChartFrame(start, end, marks, _HEIGHT, *margins, _TOP)

    def place(at: int, value: int) -> tuple[float, float]:
        return round(frame.x(at), 1), round(frame.y(value / 1000), 1)

    parts = frame.axes(str)
    if ranges:
        upper = [place(edge, high) for at, _, high in ranges for edge in (at, at + _HOUR)]
        lower = [place(edge, low) for at, low, _ in ranges for edge in (at, at + _HOUR)]
        around = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*upper, *reversed(lower)))
        parts.append(element("polygon", points=around, class_="range"))
    runs: dict[str, list[tuple[float, float]]] = {"use": [], "forecast": []}
    for at, value in points:  # a figure holds for its whole hour, which is drawn where an hour can be seen
        drawn = runs["forecast" if now is not None and at > now else "use"]
        drawn += [place(at, value), place(at + _HOUR, value)] if len(points) <= _MOST_STEPS else [place(at, value)]
    if runs["use"] and runs["forecast"]:
        x = runs["forecast"][0][0]
        parts.append(line(x, frame.top, x, frame.height - frame.bottom, "now"))
    parts += [polyline(drawn, class_) for class_, drawn in runs.items() if drawn]
    lowest, most = min(value for _, value in points), max(value for _, value in points)
    low_at = next(at for at, value in points if value == lowest)
    if lowest < most:
        x, y = place(low_at + _HOUR // 2, lowest)
        tip = element("title", f"lowest: {lowest // 1000}")
        parts.append(element("circle", tip, cx=x, cy=y, r=4, class_="low-dot"))
    described = f"Between {lowest // 1000} and {most // 1000} g CO2e per kWh."
    if runs["forecast"]:
        described += " The dashed part is a forecast."
    return drawing(frame.width, frame.height, title, described, parts, f"intensity-{name}")
