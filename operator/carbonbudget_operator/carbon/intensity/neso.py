"""The source NESO, the Carbon Intensity API of Great Britain: national, half-hourly, direct emissions, no key.

GET /intensity/{from}/{to} and /intensity/{from}/fw48h; https://carbon-intensity.github.io/api-definitions. `actual` is
null until it is settled; until then the forecast of that half-hour stands in as an estimate. The word in `index` is not
used. CC BY 4.0.
"""

from __future__ import annotations

from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityPoint
from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySourceError, SourceHttp, milligrams
from carbonbudget_operator.carbon.intensity.response_fields import at, instant, iso, items

_HALF_HOUR = 1800


class Neso:
    """Queries NESO for the zone GB, the only one that it has."""

    max_days = 14

    def __init__(self, http: SourceHttp, url: str) -> None:
        self.name, self._http, self._url = http.name, http, url.rstrip("/")

    def zone_name(self, zone: str) -> str | None:
        """Implements `IntensitySource`."""
        return zone if zone == "GB" else None

    async def fetch(self, zone: str, start: int, end: int) -> list[IntensityPoint]:
        """Implements `IntensitySource`."""
        # The first item of a range is the half-hour that ends at `from`.
        begin, until = iso(start + 60, "%Y-%m-%dT%H:%MZ"), iso(end, "%Y-%m-%dT%H:%MZ")
        answer = await self._http.get(f"{self._url}/intensity/{begin}/{until}", {}, {})
        points = []
        for item in items(self.name, answer, "data"):
            first, last = self._half_hour(item)
            actual = at(self.name, item, "intensity.actual")
            value = at(self.name, item, "intensity.forecast") if actual is None else actual
            if value is not None and start <= first < end:
                points.append(IntensityPoint(first, last, milligrams(self.name, value), actual is None))
        return points

    async def forecast(self, zone: str, start: int) -> list[IntensityPoint]:
        """Implements `ForecastingSource`: GET /intensity/{from}/fw48h, 48 hours of half hours.

        Fields of each item of `data`: `from`, `to` and `intensity.forecast` in gCO2/kWh. The regional forecasts are of
        other places than the national figures that value energy, so they are not asked for.
        """
        begin = iso(start + 60, "%Y-%m-%dT%H:%MZ")  # the first item is the half-hour that ends at `from`
        answer = await self._http.get(f"{self._url}/intensity/{begin}/fw48h", {}, {})
        points = []
        for item in items(self.name, answer, "data"):
            first, last = self._half_hour(item)
            value = at(self.name, item, "intensity.forecast")
            if value is not None:
                points.append(IntensityPoint(first, last, milligrams(self.name, value)))
        return points

    def _half_hour(self, item: object) -> tuple[int, int]:
        first, last = (instant(self.name, at(self.name, item, name)) for name in ("from", "to"))
        if last - first != _HALF_HOUR:
            raise IntensitySourceError(f"{self.name}: a figure is not for half an hour")
        return first, last
