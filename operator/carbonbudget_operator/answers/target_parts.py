"""The parts of a target's span: namespaces whose hours are known alike, and what of their emissions has units. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from carbonbudget_operator.ledger.valued_rows import COLUMNS


@dataclass(slots=True)
class SpanPart:
    """Some namespaces of a span whose hours are known alike. `figures`: of known hours; `whole`: of all that count.

    `known`: a byte for each hour of the span that counts, 1 where units are known.
    """

    names: tuple[str, ...]
    known: bytes
    figures: list[int] = field(default_factory=lambda: [0] * COLUMNS)
    whole: list[int] = field(default_factory=lambda: [0] * COLUMNS)


def left_out_namespaces(parts: Iterable[SpanPart], used_ug: Callable[[Sequence[int]], int]) -> list[str]:
    """Namespaces that lack units in hours of which others have them, by the emissions left out, largest first."""
    named = [part for part in parts if part.names]
    lacking = [part for part in named if len(part.names) == 1 and not all(part.known)]
    if not lacking:
        return []
    elsewhere = 0  # the hours that are known somewhere, a byte each
    for part in named:
        elsewhere |= int.from_bytes(part.known, "little")
    found: dict[str, int] = {}
    for part in lacking:
        its = int.from_bytes(part.known, "little") ^ int.from_bytes(b"\1" * len(part.known), "little")
        lost_ug = used_ug(part.whole) - used_ug(part.figures)
        if its & elsewhere and lost_ug > 0:
            found[part.names[0]] = lost_ug
    return sorted(found, key=lambda name: (-found[name], name))


def summed(rows: Iterable[Sequence[int]]) -> list[int]:
    """The sum of each column."""
    return [sum(column) for column in zip([0] * COLUMNS, *rows, strict=True)]


def share_percent(*parts: tuple[int, int]) -> int:
    """Per cent of the first whole that is not 0, rounded down; 0 if each is."""
    return next((min(100, part * 100 // whole) for part, whole in parts if whole), 0)
