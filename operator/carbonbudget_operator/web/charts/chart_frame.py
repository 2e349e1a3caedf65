"""What the charts of budgets, targets and intensities share: axes over time, names at the right edge, a bar. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from carbonbudget_operator.web.charts.svg import element, label, line, time_marks

_BAR: Final = 300
APART: Final = 37  # two lines of the larger text that narrow screens have


@dataclass(frozen=True, slots=True)
class ChartFrame:
    """Time [start, end) from left to right, in UTC seconds; values from 0 to the last of `marks`, from below."""

    start: int
    end: int
    marks: Sequence[int]
    height: int
    left: int = 64
    right: int = 92  # for the names of lines at their ends
    top: int = 14
    width: int = 880
    bottom: int = 26

    def x(self, at: int) -> float:
        """The place of an instant. One outside is at the edge."""
        inner = self.width - self.left - self.right
        return self.left + inner * (min(max(at, self.start), self.end) - self.start) / max(1, self.end - self.start)

    def y(self, value: float) -> float:
        """The place of a value."""
        return self.top + (self.height - self.top - self.bottom) * (1 - value / self.marks[-1])

    def axes(self, shown: Callable[[int], str]) -> list[Markup]:
        """A line and a text for each mark, and the texts of the time."""
        parts = []
        for mark in self.marks:
            y = self.y(mark)
            parts += [
                line(self.left, y, self.width - self.right, y, "rule"),
                label(shown(mark), self.left - 8, y + 4, "end"),
            ]
        marks = time_marks(self.start, self.end)
        return parts + [label(text, self.x(at), self.height - 8, anchor) for at, text, anchor in marks]

    def end_labels(self, found: Iterable[tuple[float, str, str, str]]) -> list[Markup]:
        """Names with their values below them at the right edge: (place from above, name, value, class)."""
        left = self.width - self.right + 8
        return [
            part
            for y, name, value, class_ in found
            for part in (label(name, left, y, class_=class_), label(value, left, y + 16, class_=class_))
        ]


def level_bar(value: int, most: int, dashed: int | None, solid: int, told: str, name: str) -> Markup:
    """A value as a bar from 0 to `most`, with a dashed and a solid mark. What exceeds `most` is at its end."""
    scale = (_BAR - 4) / most
    width = min(value, most) * scale
    parts = [element("title", told), element("rect", x=0, y=4, width=_BAR, height=10, rx=3, class_="track")]
    if width > 0:
        parts.append(element("rect", x=0, y=4, width=max(2.0, width), height=10, rx=3, class_="fill"))
    if dashed is not None:
        parts.append(element("path", d=f"M{min(dashed, most) * scale:.1f} 4v10", class_="forecast-mark"))
    parts.append(element("path", d=f"M{min(solid, most) * scale:.1f} 0v18", class_="limit-mark"))
    return element(
        "svg", Markup("").join(parts), viewBox=f"0 0 {_BAR} 18", role="img", preserveAspectRatio="none",
        class_=f"use-bar {name}", aria_label=told,
    )  # fmt: skip
