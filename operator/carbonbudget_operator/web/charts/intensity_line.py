"""Grid intensity over time as a line, with the lowest hours marked. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from carbonbudget_operator.web.charts.svg import drawing, element, label, line, polyline, step_text, ticks

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 880, 170, 44, 10, 26
_HOUR = 3_600


def intensity_line(points: Sequence[tuple[int, int]], now: int | None, name: str, title: str) -> Markup:
    """Hours (UTC second, mg CO2e per kWh) in order. What lies after `now` is dashed. There must be a point."""
    start, end = points[0][0], points[-1][0] + _HOUR
    marks = ticks(max(-(-value // 1000) for _, value in points), 3)
    inner_w, inner_h = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM
    parts = []
    for mark in marks:
        y = _TOP + inner_h * (1 - mark / marks[-1])
        parts += [line(_LEFT, y, _WIDTH - 10, y, "rule"), label(str(mark), _LEFT - 8, y + 4, "end")]
    for number in range(7):
        at = start + (end - start) * number // 6
        anchor = "end" if number == 6 else "middle"
        step = "hour" if end - start <= 2 * 86_400 else "day"
        parts.append(label(step_text(at - at % _HOUR, step), _LEFT + inner_w * number / 6, _HEIGHT - 8, anchor))

    def place(at: int, value: int) -> tuple[float, float]:
        x = _LEFT + inner_w * (at - start) / max(1, end - start)
        return x, _TOP + inner_h * (1 - value / 1000 / marks[-1])

    runs: dict[str, list[tuple[float, float]]] = {"use": [], "forecast": []}
    for at, value in points:  # a figure holds for its whole hour
        runs["forecast" if now is not None and at > now else "use"] += [place(at, value), place(at + _HOUR, value)]
    parts += [polyline(drawn, class_) for class_, drawn in runs.items() if drawn]
    lowest, highest = min(value for _, value in points), max(value for _, value in points)
    low_at = next(at for at, value in points if value == lowest)
    x, y = place(low_at + _HOUR // 2, lowest)
    parts.append(element("circle", element("title", f"lowest: {lowest // 1000}"), cx=x, cy=y, r=4, class_="low-dot"))
    described = f"Between {lowest // 1000} and {highest // 1000} g CO2e per kWh. The table has the latest figures."
    return drawing(_WIDTH, _HEIGHT, title, described, parts, f"intensity-{name}")
