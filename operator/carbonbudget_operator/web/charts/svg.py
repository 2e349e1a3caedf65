"""SVG elements as escaped markup, and the ticks of an axis. Pure.

Colours and fonts are in the style sheet, by class: the page's policy forbids styles inside the markup.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from markupsafe import Markup

from carbonbudget_operator.printable import printable

_LONGEST: Final = 20_000  # the points of a line
_ROUND_STEPS: Final = (1, 2, 5, 10)


def element(name: str, content: Markup | str = "", /, **attributes: object) -> Markup:
    """One element. Values and text are escaped; `class_` is `class`, and other underscores are hyphens."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _number(value))
        for key, value in attributes.items()
    )
    shown = printable(content, _LONGEST) if type(content) is str else content
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, shown)


def drawing(width: int, height: int, title: str, description: str, parts: Iterable[Markup], name: str) -> Markup:
    """A whole picture. `name` is unique on its page; screen readers read title and description in place of it."""
    text = [element("title", title, id=f"{name}-title"), element("desc", description, id=f"{name}-desc")]
    return element(
        "svg", Markup("").join([*text, *parts]), viewBox=f"0 0 {width} {height}", width=width, height=height,
        role="img", aria_labelledby=f"{name}-title {name}-desc", class_=f"chart {name}",
    )  # fmt: skip


def label(text: str, x: float, y: float, anchor: str = "start", class_: str = "axis") -> Markup:
    """A text at a point."""
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    return element("polyline", points=" ".join(f"{_number(x)},{_number(y)}" for x, y in points), class_=class_)


def ticks(most: int, wanted: int = 4) -> list[int]:
    """Round values from 0 to the first that is not below `most`, some `wanted` apart; at least 0 and 1."""
    most = max(most, 1)
    raw = Fraction(most, wanted)
    power = 1
    while power * 10 <= raw:
        power *= 10
    step = next(power * factor for factor in _ROUND_STEPS if power * factor >= raw)
    return [step * number for number in range(-(-most // step) + 1)]


def day_text(second: int) -> str:
    """ "29 Nov", UTC."""
    at = dt.datetime.fromtimestamp(second, dt.UTC)
    return f"{at.day} {at:%b}"


def step_text(second: int, step: str) -> str:
    """The label of a step that begins at a UTC second."""
    at = dt.datetime.fromtimestamp(second, dt.UTC)
    if step == "hour":
        return f"{at:%H}:00" if at.hour else day_text(second)
    return f"{at:%b %Y}" if step == "month" else day_text(second)


def time_marks(start: int, end: int) -> list[tuple[int, str, str]]:
    """(UTC second, text, text-anchor) of an axis: each six hours in a span of two days at most, else whole UTC days."""
    day = 86_400
    every, step = (day // 4, "hour") if end - start <= 2 * day else (-(-(end - start) // (9 * day)) * day, "day")
    first = -(-start // min(every, day)) * min(every, day)
    found = []
    for at in range(first, end + 1, every):
        part = (at - start) / max(1, end - start)
        found.append((at, step_text(at, step), "start" if part < 0.02 else "end" if part > 0.98 else "middle"))
    return found


def _number(value: object) -> object:
    """Two decimals are enough for a picture. Text is printable."""
    if type(value) is str:
        return printable(value, _LONGEST)
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
