"""The source Electricity Maps, API v3: hourly flow-traced mean intensity of a zone's consumption.

GET /carbon-intensity/history (the last 24 hours, every plan), /past-range (ten days at most) or /forecast (paid plans,
`horizonHours` 6, 24, 48 or 72), header `auth-token`; https://docs.electricitymaps.com. A zone is always named: else the
service guesses it from the caller's address. All figures are gCO2eq/kWh.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from carbonbudget_operator.carbon.intensity.hourly_intensity import HOUR, IntensityPoint
from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySourceError, SourceHttp, milligrams
from carbonbudget_operator.carbon.intensity.response_fields import at, instant, iso, items
from carbonbudget_operator.carbon.providers import read_table

_DAY = 24 * HOUR
_DEFAULT_KIND = "lifecycle"


@cache
def bundled_names() -> dict[str, str]:
    """Zones of the bundled tables for which Electricity Maps has another name."""
    return {row["zone"]: row["name"] for row in read_table("source_zones.csv") if row["source"] == "electricityMaps"}


class ElectricityMaps:
    """Queries Electricity Maps for one basis: lifecycle or direct."""

    max_days = 10

    def __init__(
        self, http: SourceHttp, url: str, basis: str, zones: Mapping[str, str], forecast_hours: int = 72
    ) -> None:
        """`forecast_hours`: how far ahead a forecast is asked for."""
        self.name, self._zones = http.name, bundled_names() | dict(zones)
        self._http, self._url, self._basis, self._forecast_hours = http, url.rstrip("/"), basis, forecast_hours

    def zone_name(self, zone: str) -> str | None:
        """The configured name, else the bundled name, else the zone itself: most names are the same."""
        return self._zones.get(zone, zone)

    async def fetch(self, zone: str, start: int, end: int) -> list[IntensityPoint]:
        """Implements `IntensitySource`."""
        params = self._params(zone)
        path, field = "history", "history"
        if start < end - _DAY:
            path, field = "past-range", "data"
            params |= {"start": iso(start), "end": iso(end)}
        answer = await self._http.get(f"{self._url}/carbon-intensity/{path}", params, {"auth-token": self._http.key()})
        points = []
        for item in [answer, *items(self.name, answer, field)]:
            for name, wanted in (("zone", zone), ("emissionFactorType", self._basis)):
                self._expect(item, name, wanted, wanted if name != "zone" or item is not answer else None)
            value = None if item is answer else at(self.name, item, "carbonIntensity")
            if value is None:  # not measured yet
                continue
            begin = instant(self.name, at(self.name, item, "datetime"))
            guess = at(self.name, item, "isEstimated", False) is not False
            points.append(IntensityPoint(begin, begin + HOUR, milligrams(self.name, value), guess))
        return points

    async def forecast(self, zone: str, start: int) -> list[IntensityPoint]:
        """Implements `ForecastingSource`: GET /carbon-intensity/forecast.

        Fields of the answer: `zone`, and in `forecast` for each hour `datetime` (its start) and `carbonIntensity`;
        `updatedAt` is not used. `emissionFactorType` is not documented for this answer. Where it is missing, the
        figures are those of the documented default, `lifecycle`: a forecast of another kind is never assumed.
        """
        params = self._params(zone) | {"horizonHours": str(self._forecast_hours)}
        answer = await self._http.get(
            f"{self._url}/carbon-intensity/forecast", params, {"auth-token": self._http.key()}
        )
        self._expect(answer, "zone", zone, None)
        points = []
        for item in items(self.name, answer, "forecast"):
            self._expect(item, "zone", zone, zone)
            kind = at(self.name, answer, "emissionFactorType", _DEFAULT_KIND)
            self._expect(item, "emissionFactorType", self._basis, kind)
            for granularity in (at(self.name, one, "temporalGranularity", "hourly") for one in (answer, item)):
                if granularity != "hourly":
                    raise IntensitySourceError(f"{self.name}: the forecast is {str(granularity)[:20]!r}, not hourly")
            value = at(self.name, item, "carbonIntensity")
            if value is not None:
                begin = instant(self.name, at(self.name, item, "datetime"))
                points.append(IntensityPoint(begin, begin + HOUR, milligrams(self.name, value)))
        return points

    def _params(self, zone: str) -> dict[str, str]:
        return {
            "zone": zone, "emissionFactorType": self._basis, "temporalGranularity": "hourly",
            "disableCallerLookup": "true",
        }  # fmt: skip

    def _expect(self, answer: object, name: str, wanted: str, default: str | None) -> None:
        found = at(self.name, answer, name, default)
        if found != wanted:
            raise IntensitySourceError(f"{self.name}: asked for {name} {wanted}, the answer is for {str(found)[:40]}")
