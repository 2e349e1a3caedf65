"""Which hours to come are expected by the forecast of a zone's source, and which by the profile of past weeks.

An hour that has begun is never expected by a forecast: its figure is the observed one, or what stands in for it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from carbonbudget_operator.intensity_settings import has_forecast
from carbonbudget_operator.ledger.forecast_store import load_forecasts
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader


@dataclass(frozen=True, slots=True)
class ForecastFigure:
    """A source's forecast of one hour in mgCO2e/kWh, and the UTC second at which it was fetched.

    `is_too_old`: it is not used, and the profile of past weeks is.
    """

    source: str
    mg_per_kwh: int
    fetched_at: int
    is_too_old: bool


class SourceForecasts:
    """The newest forecasts of some zones, as the settings order their sources."""

    def __init__(self, reader: ValuedReader, zones: Collection[str], now: int) -> None:
        terms = reader.terms.at(now)
        self._terms, self._begun = reader.terms, -(-now // HOUR) * HOUR
        self._oldest = now - terms.carbon.intensity.max_forecast_age_hours * HOUR
        with snapshot(reader.engine) as connection:
            # Of the reported basis only: direct and life-cycle figures are never mixed.
            self._found = load_forecasts(connection, terms.carbon.basis, zones, self._begun)

    @property
    def has_any(self) -> bool:
        """Whether any hour to come has a forecast."""
        return bool(self._found)

    def find(self, zone: str, hour: int) -> ForecastFigure | None:
        """The forecast of an hour to come by the first source in force that has one, fresh before old.

        None where no source has one, and where the settings state a figure before such a source: the hour will be
        valued by that one.
        """
        if hour < self._begun:
            return None
        terms, old = self._terms.at(hour), None
        for given in terms.carbon.intensity.sources:
            if zone in terms.stated.get(given.name, {}):
                break
            its = self._found.get((given.name, zone))
            if its is None or hour not in its.mg_per_kwh or not has_forecast(given):
                continue
            found = ForecastFigure(
                given.name, its.mg_per_kwh[hour], its.fetched_at, is_too_old=its.fetched_at < self._oldest
            )
            if not found.is_too_old:
                return found
            old = old or found
        return old

    def mean(self, zones: Collection[str], hour: int) -> int | None:
        """The mean of several zones' fresh forecasts; None if one of them has none."""
        found = [self.find(zone, hour) for zone in zones]
        known = [one.mg_per_kwh for one in found if one is not None and not one.is_too_old]
        return sum(known) // len(known) if known and len(known) == len(found) else None
