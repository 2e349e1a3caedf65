"""A source that returns JSON over HTTP. The paths of the fields and the unit are configured.

docs/intensity.md has it for WattTime's average signal and for the carbon-aware-sdk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityPoint
from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySourceError, SourceHttp, milligrams
from carbonbudget_operator.carbon.intensity.response_fields import at, instant, iso, items

# g/kWh for one of the unit; a pound is 0.45359237 kg (International Yard and Pound Agreement, 1959).
UNITS = {"g/kWh": 1.0, "kg/MWh": 1.0, "t/MWh": 1000.0, "lb/MWh": 0.45359237, "g/MJ": 3.6}


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The request, and the paths in its answer. `{zone}`, `{start}`, `{end}` and `{key}` are replaced."""

    url: str
    value: str
    time: str
    unit: str
    step_seconds: int
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    items: str = ""
    estimated: str = ""
    expect: Mapping[str, str] = field(default_factory=dict)
    login_url: str = ""
    login_token: str = "token"  # noqa: S105 - the name of a field


class HttpJson:
    """Sends one request for one list of points."""

    def __init__(self, http: SourceHttp, shape: ResponseFormat, zones: Mapping[str, str], max_days: int) -> None:
        self.name, self.max_days = http.name, max_days
        self._http, self._shape, self._zones = http, shape, zones

    def zone_name(self, zone: str) -> str | None:
        """A configured name; None for other zones, to query no wrong place. Without names, the zone itself."""
        return self._zones.get(zone) if self._zones else zone

    async def fetch(self, zone: str, start: int, end: int) -> list[IntensityPoint]:
        """Implements `IntensitySource`."""
        shape = self._shape
        values = {"zone": zone, "start": iso(start), "end": iso(end), "key": await self._key()}
        answer = await self._http.get(
            _filled(shape.url, values),
            {name: _filled(text, values) for name, text in shape.params.items()},
            {name: _filled(text, values) for name, text in shape.headers.items()},
        )
        for path, text in shape.expect.items():
            wanted, found = _filled(text, values), at(self.name, answer, path)
            if str(found) != wanted:
                raise IntensitySourceError(f"{self.name}: {path} should be {wanted}, the answer has {str(found)[:40]}")
        points = [self._point(item) for item in items(self.name, answer, shape.items)]
        return [point for point in points if point is not None]

    def _point(self, item: Any) -> IntensityPoint | None:
        """The point of an item; None if its value is null, that is, not known yet."""
        shape = self._shape
        begin = instant(self.name, at(self.name, item, shape.time))
        value = at(self.name, item, shape.value)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            value *= UNITS[shape.unit]
        guess = bool(shape.estimated) and at(self.name, item, shape.estimated, True) is not False
        return IntensityPoint(begin, begin + shape.step_seconds, milligrams(self.name, value), guess)

    async def _key(self) -> str:
        """The key, or the token from a login with `user:password`."""
        key = self._http.key()
        if not self._shape.login_url:
            return key
        user, _, password = key.partition(":")
        answer = await self._http.get(self._shape.login_url, {}, {}, (user, password))
        token = at(self.name, answer, self._shape.login_token)
        if not isinstance(token, str) or not token.isprintable():
            raise IntensitySourceError(f"{self.name}: {self._shape.login_token!r} of the login is no token")
        return token


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
