"""Figures that the configuration states, with their source: an operator's own, or a national inventory's."""

from __future__ import annotations

from collections.abc import Mapping

from carbonbudget_operator.carbon.intensity.hours import Point
from carbonbudget_operator.carbon.intensity.source import SourceError


class Static:
    """One figure for each zone, at all times."""

    max_days = 36

    def __init__(self, name: str, mg_per_kwh: Mapping[str, int]) -> None:
        self.name, self._mg_per_kwh = name, mg_per_kwh

    def zone_name(self, zone: str) -> str | None:
        """As the Protocol says."""
        return zone if zone in self._mg_per_kwh else None

    async def fetch(self, zone: str, start: int, end: int) -> list[Point]:
        """As the Protocol says."""
        if zone not in self._mg_per_kwh:
            raise SourceError(f"{self.name}: no figure for zone {zone}")
        return [Point(start, end, self._mg_per_kwh[zone])]
