"""Asks the sources of intensities for their forecasts, once an hour for each zone, and stores the newest one.

A forecast that cannot be used leaves the former one in place until that is too old; then the mean of past weeks is
expected (`answers/intensity_forecast.py`).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Final

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter

from carbonbudget_operator.carbon.intensity.expected_hours import expected_hours
from carbonbudget_operator.carbon.intensity.hourly_intensity import HOUR
from carbonbudget_operator.carbon.intensity.intensity_source import ForecastingSource, IntensitySourceError
from carbonbudget_operator.intensity_settings import has_forecast
from carbonbudget_operator.ledger.forecast_store import fail_forecast, store_forecast
from carbonbudget_operator.ledger.forecast_tables import grid_forecast_poll
from carbonbudget_operator.ledger.intensity_store import claim_poll
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valuation.grid_hours import Fetched, IntensityPoller

_log = logging.getLogger(__name__)
INTERVAL_SECONDS: Final = HOUR
_REPORTED_DAYS: Final = 2  # a zone in which no node has reported since is not asked for
_LONGEST_PAUSE_SECONDS: Final = 24 * HOUR  # whatever a Retry-After asks for


@dataclass(frozen=True, slots=True)
class FetchedForecast:
    """One source that was asked for its forecast of one zone; `hours` of it were stored. `error`: why none was."""

    source: str
    zone: str
    hours: int
    error: str = ""


class ForecastPoller:
    """Brings the ledger's forecasts up to date; any number of servers share the turns."""

    def __init__(
        self, engine: sa.Engine, settings: Settings, registry: CollectorRegistry, intensities: IntensityPoller
    ) -> None:
        """`intensities` has the sources and zones: both are asked with one limit of requests."""
        self._engine, self._carbon, self._intensities = engine, settings.carbon, intensities
        self._failing: set[tuple[str, str]] = set()
        self._polls = Counter(
            "carbonbudget_intensity_forecast_polls", "Questions to sources for their forecasts.",
            ["source", "outcome"], registry=registry,
        )  # fmt: skip

    async def step(self, now: int, force: bool = False) -> list[FetchedForecast]:
        """Ask every source that has forecasts, for every zone of nodes whose turn it is; what each gave."""
        names = {given.name for given in self._carbon.at(now).intensity.sources if has_forecast(given)}
        sources = [source for source in self._intensities.sources(now) if source.name in names]
        if not sources:
            return []
        zones = await asyncio.to_thread(self._intensities.zones, now, _REPORTED_DAYS)
        done = [
            self._poll(source, zone, name, now, 0 if force else INTERVAL_SECONDS)
            for source, zone, name in self._intensities.wanted(sources, zones)
            if isinstance(source, ForecastingSource)
        ]
        return [found for found in await asyncio.gather(*done) if found is not None]

    async def _poll(
        self, source: ForecastingSource, zone: str, name: str, now: int, interval: int
    ) -> FetchedForecast | None:
        claim = partial(claim_poll, self._engine, source.name, zone, now, interval, grid_forecast_poll)
        if not await asyncio.to_thread(claim):
            return None
        start = now - now % HOUR + HOUR
        try:
            hours = expected_hours(source.name, await source.forecast(name, start), start)
        except IntensitySourceError as error:
            self._polls.labels(source.name, "failed").inc()
            if (source.name, zone) not in self._failing:  # once, until it works again
                _log.warning("no forecast of zone %s: %s; the mean of past weeks is expected", zone, error)
            self._failing.add((source.name, zone))
            pause = min(max(int(error.retry_after), INTERVAL_SECONDS), _LONGEST_PAUSE_SECONDS)
            polled_at = now + pause - INTERVAL_SECONDS
            await asyncio.to_thread(fail_forecast, self._engine, source.name, zone, str(error), polled_at)
            return FetchedForecast(source.name, zone, 0, str(error))
        self._failing.discard((source.name, zone))
        self._polls.labels(source.name, "answered").inc()
        basis = self._carbon.at(now).basis
        await asyncio.to_thread(store_forecast, self._engine, source.name, zone, basis, hours, start, now)
        return FetchedForecast(source.name, zone, len(hours))


async def fetch_now(
    engine: sa.Engine, settings: Settings, registry: CollectorRegistry, now: int
) -> tuple[list[Fetched], list[FetchedForecast]]:
    """Ask every source once, for figures and for forecasts, whoever's turn it is."""
    intensities = IntensityPoller(engine, settings, registry)
    forecasts = ForecastPoller(engine, settings, registry, intensities)
    return await intensities.ask(now, force=True), await forecasts.step(now, force=True)
