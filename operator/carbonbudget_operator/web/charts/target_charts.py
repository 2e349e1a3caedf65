"""The charts of a target: the bar of its figure, and its path with the windows that are over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.web.charts.chart_frame import APART, ChartFrame, level_bar
from carbonbudget_operator.web.charts.svg import day_text, drawing, element, line, polyline, ticks

_HEIGHT: Final = 280
_LEAST: Final = 3.0  # the width of a window's bar


@dataclass(frozen=True, slots=True)
class WindowBar:
    """A window [start, end) in UTC seconds, its micrograms per unit, its state by word and by class."""

    start: int
    end: int
    per_unit_ug: int
    word: str
    state: str
    present: bool = False


def target_bar(current_ug: int, expected_ug: int, baseline_ug: int | None, state: str) -> Markup:
    """The figure as a bar, with a mark at what the path asks for and a dashed one at the baseline."""
    most = max(current_ug, expected_ug, baseline_ug or 0, 1)
    told = f"{format_mass(current_ug)}, expected {format_mass(expected_ug)}"
    if baseline_ug is not None:
        told += f", baseline {format_mass(baseline_ug)}"
    return level_bar(current_ug, most, baseline_ug, expected_ug, told, state)


def target_path(path: Sequence[tuple[int, int]], windows: Sequence[WindowBar], now: int, title: str) -> Markup:
    """The path's corners (UTC second, micrograms per unit) as a line, and each window as a bar.

    Both are in order of time, and one of them is not empty. `now` is marked where it is within.
    """
    start = min([at for at, _ in path[:1]] + [one.start for one in windows[:1]])
    end = max([at for at, _ in path[-1:]] + [one.end for one in windows[-1:]])
    values = [value for _, value in path] + [one.per_unit_ug for one in windows]
    frame = ChartFrame(start, end, ticks(max(values)), _HEIGHT)
    x, y = frame.x, frame.y
    parts = frame.axes(lambda mark: format_mass(mark) if mark else "0")
    for one in windows:
        left, right = x(one.start), x(one.end)
        width = max(_LEAST, right - left - 1)
        what = "the present window" if one.present else f"{day_text(one.start)} to {day_text(one.end)}"
        tip = element("title", f"{what}: {format_mass(one.per_unit_ug)}, {one.word}")
        tall = max(0.5, y(0) - y(one.per_unit_ug))
        parts.append(
            element("rect", tip, x=min(left, frame.width - frame.right - width), y=y(0) - tall,
                    width=width, height=tall, class_=f"window {one.state}{' present' if one.present else ''}")
        )  # fmt: skip
    if start <= now <= end:
        parts.append(line(x(now), frame.top, x(now), y(0), "now"))
    if path:
        parts.append(polyline([(x(at), y(value)) for at, value in path], "path-line"))
        parts.append(element("circle", cx=x(path[-1][0]), cy=y(path[-1][1]), r=4, class_="path-dot"))
        parts += frame.end_labels(_ends(frame, path))
    return drawing(frame.width, frame.height, title, _words(path, windows), parts, "target-path")


def _ends(frame: ChartFrame, path: Sequence[tuple[int, int]]) -> list[tuple[float, str, str, str]]:
    """The names of baseline and goal, kept apart where they are near each other."""
    (_, baseline_ug), (_, goal_ug) = path[0], path[-1]
    base_y = frame.y(baseline_ug)
    goal_y = min(max(frame.y(goal_ug), base_y + APART), frame.height - frame.bottom - 14)
    base_y = max(frame.top + 6, min(base_y, goal_y - APART))
    return [
        (base_y, "Baseline", format_mass(baseline_ug), "axis"),
        (goal_y, "Target", format_mass(goal_ug), "path-text"),
    ]


def _words(path: Sequence[tuple[int, int]], windows: Sequence[WindowBar]) -> str:
    said = []
    if path:
        (start, first), (by, last) = path[0], path[-1]
        said.append(f"From {format_mass(first)} on {day_text(start)} to {format_mass(last)} on {day_text(by)}.")
    if windows:
        said.append(f"{len(windows)} windows; the last one has {format_mass(windows[-1].per_unit_ug)}.")
    return " ".join(said)
