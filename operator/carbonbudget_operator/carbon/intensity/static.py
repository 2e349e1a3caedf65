"""Figures that the configuration states, with their source: an operator's own, or a national inventory's."""

from __future__ import annotations

from collections.abc import Mapping

from carbonbudget_operator.carbon.intensity.hours import Point
from carbonbudget_operator.carbon.intensity.source import SourceError
from carbonbudget_operator.timeline import Timeline


class Static:
    """One figure in mgCO2e/kWh for each zone, at all times or by time."""

    max_days = 36

    def __init__(self, name: str, mg_per_kwh: Mapping[str, int] | Timeline[Mapping[str, int]]) -> None:
        self.name = name
        self._mg_per_kwh = mg_per_kwh if isinstance(mg_per_kwh, Timeline) else Timeline.always(mg_per_kwh)

    def zone_name(self, zone: str) -> str | None:
        """As the Protocol says."""
        return zone if any(zone in figures for figures in self._mg_per_kwh.values) else None

    def states(self, zone: str, start: int, end: int) -> bool:
        """Whether it has a figure of a zone for any time of [start, end) in UTC seconds."""
        return any(
            zone in figures and since < end and until > start for since, until, figures in self._mg_per_kwh.spans()
        )

    async def fetch(self, zone: str, start: int, end: int) -> list[Point]:
        """As the Protocol says."""
        points = [
            Point(max(start, since), min(end, until), figures[zone])
            for since, until, figures in self._mg_per_kwh.spans()
            if zone in figures and since < end and until > start
        ]
        if not points:
            raise SourceError(f"{self.name}: no figure for zone {zone}")
        return points
