"""The charts of a target: the bar of its figure, and its path with the windows that are over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.web.charts.svg import day_text, drawing, element, label, line, polyline, ticks, time_marks

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 880, 280, 64, 92, 14, 26
_BAR: Final = 300
_LEAST: Final = 3.0  # the width of a window's bar
_APART: Final = 37  # two lines of the larger text that narrow screens have


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
    scale = (_BAR - 4) / most
    parts = [element("rect", x=0, y=4, width=_BAR, height=10, rx=3, class_="track")]
    if current_ug > 0:
        parts.append(element("rect", x=0, y=4, width=max(2.0, current_ug * scale), height=10, rx=3, class_="fill"))
    if baseline_ug is not None:
        x = min(_BAR - 1.5, baseline_ug * scale)
        parts.append(element("path", d=f"M{x:.1f} 4v10", class_="forecast-mark"))
    parts.append(element("path", d=f"M{expected_ug * scale:.1f} 0v18", class_="limit-mark"))
    told = f"{format_mass(current_ug)}, expected {format_mass(expected_ug)}"
    if baseline_ug is not None:
        told += f", baseline {format_mass(baseline_ug)}"
    return element(
        "svg", Markup("").join([element("title", told), *parts]), viewBox=f"0 0 {_BAR} 18", role="img",
        preserveAspectRatio="none", class_=f"use-bar {state}", aria_label=told,
    )  # fmt: skip


def target_path(path: Sequence[tuple[int, int]], windows: Sequence[WindowBar], now: int, title: str) -> Markup:
    """The path's corners (UTC second, micrograms per unit) as a line, and each window as a bar.

    Both are in order of time, and one of them is not empty. `now` is marked where it is within.
    """
    start = min([at for at, _ in path[:1]] + [one.start for one in windows[:1]])
    end = max([at for at, _ in path[-1:]] + [one.end for one in windows[-1:]])
    values = [value for _, value in path] + [one.per_unit_ug for one in windows]
    marks = ticks(max(values))
    inner_w, inner_h = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(at: int) -> float:
        return _LEFT + inner_w * (min(max(at, start), end) - start) / max(1, end - start)

    def y(value_ug: int) -> float:
        return _TOP + inner_h * (1 - value_ug / marks[-1])

    parts = []
    for mark in marks:
        parts += [
            line(_LEFT, y(mark), _WIDTH - _RIGHT, y(mark), "rule"),
            label(format_mass(mark) if mark else "0", _LEFT - 8, y(mark) + 4, "end"),
        ]
    parts += [label(text, x(at), _HEIGHT - 8, anchor) for at, text, anchor in time_marks(start, end)]
    for one in windows:
        left, right = x(one.start), x(one.end)
        width = max(_LEAST, right - left - 1)
        what = "the present window" if one.present else f"{day_text(one.start)} to {day_text(one.end)}"
        tip = element("title", f"{what}: {format_mass(one.per_unit_ug)}, {one.word}")
        tall = max(0.5, inner_h * one.per_unit_ug / marks[-1])
        parts.append(
            element("rect", tip, x=min(left, _WIDTH - _RIGHT - width), y=y(0) - tall, width=width, height=tall,
                    class_=f"window {one.state}{' present' if one.present else ''}")
        )  # fmt: skip
    if start <= now <= end:
        parts.append(line(x(now), _TOP, x(now), y(0), "now"))
    if path:
        parts.append(polyline([(x(at), y(value)) for at, value in path], "path-line"))
        parts.append(element("circle", cx=x(path[-1][0]), cy=y(path[-1][1]), r=4, class_="path-dot"))
        parts += _ends(path, y)
    return drawing(_WIDTH, _HEIGHT, title, _words(path, windows), parts, "target-path")


def _ends(path: Sequence[tuple[int, int]], y: object) -> list[Markup]:
    """The names of baseline and goal at the right edge, kept apart where they are near each other."""
    assert callable(y)
    left, goal_y, base_y = _WIDTH - _RIGHT + 8, y(path[-1][1]), y(path[0][1])
    goal_y = min(max(goal_y, base_y + _APART), _HEIGHT - _BOTTOM - 14)
    base_y = max(_TOP + 6, min(base_y, goal_y - _APART))
    found = [(base_y, "Baseline", path[0][1], "axis"), (goal_y, "Target", path[-1][1], "path-text")]
    return [
        part
        for at, name, value, class_ in found
        for part in (label(name, left, at, class_=class_), label(format_mass(value), left, at + 16, class_=class_))
    ]


def _words(path: Sequence[tuple[int, int]], windows: Sequence[WindowBar]) -> str:
    said = []
    if path:
        (start, first), (by, last) = path[0], path[-1]
        said.append(f"From {format_mass(first)} on {day_text(start)} to {format_mass(last)} on {day_text(by)}.")
    if windows:
        said.append(f"{len(windows)} windows; the last one has {format_mass(windows[-1].per_unit_ug)}.")
    return " ".join(said)
