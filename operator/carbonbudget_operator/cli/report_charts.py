"""The charts of a report's page, as the numbers that its SVG elements need. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from carbonbudget_operator.cli.table_cells import rounded
from carbonbudget_operator.decimal_text import kilowatt_hours
from carbonbudget_operator.printable import printable

MOST_BARS: Final = 10
MOST_ZONES: Final = 4  # with a colour of their own; the others share one
_NAME_LENGTH: Final = 34
_BY_HOUR_SECONDS: Final = 3 * 86_400
_BY_DAY_SECONDS: Final = 100 * 86_400
_OTHERS: Final = "other zones"


@dataclass(frozen=True, slots=True)
class Bar:
    """A horizontal bar: what it is of, its figure as text, its length in thousandths of the longest."""

    name: str
    figure: str
    length: int


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a column: its series' number, and its lower edge and height in thousandths of the highest column."""

    series: int
    bottom: int
    height: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column: when, its sum as text, its blocks from the bottom up."""

    when: str
    figure: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Columns:
    """A chart of columns; `top` is the highest sum as text, `step` how many seconds or which calendar part each is."""

    step: str
    top: str
    series: Sequence[str]
    columns: Sequence[Column]


def namespace_chart(namespaces: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    """The namespaces with the most location-based emissions."""
    found = sorted(namespaces.items(), key=lambda one: (-int(one[1]["location_ug"]), one[0]))[:MOST_BARS]
    most = max((int(figures["location_ug"]) for _, figures in found), default=0)
    return [
        Bar(printable(name, _NAME_LENGTH), rounded(figures["location_g"]), int(figures["location_ug"]) * 1000 // most)
        for name, figures in found
        if most
    ]


def energy_chart(factors: Mapping[str, Mapping[str, Any]], seconds: int) -> Columns | None:
    """The energy of a span of that length by hour, day or month, and by grid zone; None without hourly numbers."""
    step, digits = (
        ("hour", 13) if seconds <= _BY_HOUR_SECONDS else ("day", 10) if seconds <= _BY_DAY_SECONDS else ("month", 7)
    )
    sums: dict[str, dict[str, int]] = {}
    zones: dict[str, int] = {}
    for factor in factors.values():
        zone = str(factor.get("zone") or "zone not stored")
        for hour, figures in factor["hours"].items():
            uj, part = int(figures[2]), sums.setdefault(hour[:digits], {})
            part[zone] = part.get(zone, 0) + uj
            zones[zone] = zones.get(zone, 0) + uj
    highest = max((sum(part.values()) for part in sums.values()), default=0)
    if not highest:
        return None
    order = sorted(zones, key=lambda zone: (-zones[zone], zone))
    shown = order[:MOST_ZONES]
    columns = []
    for when in sorted(sums):
        heights = [sums[when].get(zone, 0) for zone in shown]
        heights.append(sum(sums[when].values()) - sum(heights))
        blocks, below = [], 0
        for series, uj in enumerate(heights):
            bottom, top = below * 1000 // highest, (below + uj) * 1000 // highest
            if top > bottom:
                blocks.append(Block(series, bottom, top - bottom))
            below += uj
        columns.append(Column(when.replace("T", " ") + ("h" if step == "hour" else ""), _kwh(below), blocks))
    names = [printable(zone, _NAME_LENGTH) for zone in shown] + ([_OTHERS] if len(order) > MOST_ZONES else [])
    return Columns(step, _kwh(highest), names, columns)


def _kwh(uj: int) -> str:
    return f"{Decimal(rounded(kilowatt_hours(uj)).replace(',', '')).normalize():,f}"
