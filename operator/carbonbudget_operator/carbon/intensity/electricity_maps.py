"""The source Electricity Maps, API v3: hourly flow-traced mean intensity of a zone's consumption.

GET /carbon-intensity/history (the last 24 hours, every plan) or /past-range (ten days at most), header
`auth-token`; https://docs.electricitymaps.com. A zone is always named: else the service guesses it from the
caller's address.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from carbonbudget_operator.carbon.intensity.hourly_intensity import HOUR, IntensityPoint
from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySourceError, SourceHttp, milligrams
from carbonbudget_operator.carbon.intensity.response_fields import at, instant, iso, items
from carbonbudget_operator.carbon.providers import read_table

_DAY = 24 * HOUR


@cache
def bundled_names() -> dict[str, str]:
    """Zones of the bundled tables for which Electricity Maps has another name."""
    return {row["zone"]: row["name"] for row in read_table("source_zones.csv") if row["source"] == "electricityMaps"}


class ElectricityMaps:
    """Queries Electricity Maps for one basis: lifecycle or direct."""

    max_days = 10

    def __init__(self, http: SourceHttp, url: str, basis: str, zones: Mapping[str, str]) -> None:
        self.name, self._zones = http.name, bundled_names() | dict(zones)
        self._http, self._url, self._basis = http, url.rstrip("/"), basis

    def zone_name(self, zone: str) -> str | None:
        """The configured name, else the bundled name, else the zone itself: most names are the same."""
        return self._zones.get(zone, zone)

    async def fetch(self, zone: str, start: int, end: int) -> list[IntensityPoint]:
        """Implements `IntensitySource`."""
        params = {
            "zone": zone, "emissionFactorType": self._basis, "temporalGranularity": "hourly",
            "disableCallerLookup": "true",
        }  # fmt: skip
        path, field = "history", "history"
        if start < end - _DAY:
            path, field = "past-range", "data"
            params |= {"start": iso(start), "end": iso(end)}
        answer = await self._http.get(f"{self._url}/carbon-intensity/{path}", params, {"auth-token": self._http.key()})
        points = []
        for item in [answer, *items(self.name, answer, field)]:
            for name, wanted in (("zone", zone), ("emissionFactorType", self._basis)):
                found = at(self.name, item, name, wanted if name != "zone" or item is not answer else None)
                if found != wanted:
                    raise IntensitySourceError(
                        f"{self.name}: asked for {name} {wanted}, the answer is for {str(found)[:40]}"
                    )
            value = None if item is answer else at(self.name, item, "carbonIntensity")
            if value is None:  # not measured yet
                continue
            begin = instant(self.name, at(self.name, item, "datetime"))
            guess = at(self.name, item, "isEstimated", False) is not False
            points.append(IntensityPoint(begin, begin + HOUR, milligrams(self.name, value), guess))
        return points
