"""Emissions by step as stacked bars. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.web.charts.svg import drawing, element, label, line, step_text, ticks

COLOURS: Final = 8  # the style sheet's; beyond them all is one series
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 880, 270, 64, 10, 26


@dataclass(frozen=True, slots=True)
class BarSeries:
    """One colour of the bars: a name and its micrograms in each step."""

    name: str
    values_ug: Sequence[int]


def stacked_bars(starts: Sequence[int], step: str, series: Sequence[BarSeries], title: str) -> Markup:
    """The chart. `starts` are the steps' first UTC seconds; each series has a value for each of them."""
    totals = [sum(one.values_ug[index] for one in series) for index in range(len(starts))]
    marks = ticks(max(totals, default=0))
    inner_w, inner_h = _WIDTH - _LEFT - 8, _HEIGHT - _TOP - _BOTTOM
    parts = []
    for mark in marks:
        y = _TOP + inner_h * (1 - mark / marks[-1])
        parts += [
            line(_LEFT, y, _WIDTH - 8, y, "rule"),
            label(format_mass(mark) if mark else "0", _LEFT - 8, y + 4, "end"),
        ]
    slot = inner_w / max(1, len(starts))
    each = -(-len(starts) // 12)
    for index, start in enumerate(starts):
        x, bottom, when = _LEFT + slot * index, float(_TOP + inner_h), step_text(start, step)
        for number, one in enumerate(series):
            height = inner_h * one.values_ug[index] / marks[-1]
            if height <= 0:
                continue
            bottom -= height
            tip = element("title", f"{one.name}, {when}: {format_mass(one.values_ug[index])}")
            width, gap = max(0.5, slot * 0.82), slot * 0.09
            parts.append(
                element("rect", tip, x=x + gap, y=bottom, width=width, height=height, class_=f"s{number % COLOURS}")
            )
        if index % each == 0:
            parts.append(label(when, x + slot / 2, _HEIGHT - 8, "middle"))
    described = f"{len(starts)} steps; the highest is {format_mass(max(totals, default=0))}. The table has the figures."
    return drawing(_WIDTH, _HEIGHT, title, described, parts, "bars")
