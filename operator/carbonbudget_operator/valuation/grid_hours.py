"""Polls the configured sources of hourly grid intensities, and stores their figures in the ledger.

Figures that the settings state are not stored: hours are valued by the settings themselves (`valued_reader.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter

from carbonbudget_operator.carbon.basis_split import other_basis
from carbonbudget_operator.carbon.intensity.electricity_maps import ElectricityMaps
from carbonbudget_operator.carbon.intensity.hourly_intensity import HOUR, hourly_means
from carbonbudget_operator.carbon.intensity.http_json import HttpJson, ResponseFormat
from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySource, IntensitySourceError, SourceHttp
from carbonbudget_operator.carbon.intensity.neso import Neso
from carbonbudget_operator.intensity_settings import (
    ElectricityMapsSettings,
    NesoSettings,
    NetworkSource,
    StaticSourceSettings,
)
from carbonbudget_operator.ledger.fact_reader import hours_with_facts, read_nodes
from carbonbudget_operator.ledger.intensity_store import claim_poll, fail_poll, load_intensities, store_intensities
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.timeline import Timeline
from carbonbudget_operator.valuation.node_factors import Places

_log = logging.getLogger(__name__)
_DAY = 24 * HOUR
_STANDS_IN = "former and yearly figures stand in"
_NOT_SPLIT = "its hours are not set apart into direct and upstream"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One source that was asked for one zone: how many hours of the reported basis it gave, and how many changed.

    `error`: what was wrong with its answer for either basis; empty if nothing was.
    """

    source: str
    zone: str
    hours: int
    changed: int
    error: str = ""


def make_source(given: NetworkSource, basis: str) -> IntensitySource:
    """A source on the network, as configured."""
    if isinstance(given, NesoSettings):
        return Neso(_http(given, None), given.url)
    http = _http(given, given.key_file)
    zones = {ours.upper(): its for ours, its in given.zones.items()}
    if isinstance(given, ElectricityMapsSettings):
        return ElectricityMaps(http, given.url, basis, zones, given.forecast_hours)
    shape = ResponseFormat(
        url=given.url, value=given.value, time=given.time, unit=given.unit, step_seconds=given.step_seconds,
        params=given.params, headers=given.headers, items=given.items, estimated=given.estimated,
        expect=given.expect, login_url=given.login_url, login_token=given.login_token,
    )  # fmt: skip
    return HttpJson(http, shape, zones, given.max_days)


def _http(given: NetworkSource, key_file: Path | None) -> SourceHttp:
    return SourceHttp(given.name, key_file, given.requests_per_minute, given.timeout_seconds, ca=given.ca)


def make_sources(carbon: Timeline[CarbonSettings], other: bool = False) -> Timeline[list[IntensitySource]]:
    """The sources to ask, by time: those on the network that are in force. What settings state is not asked for.

    `other`: for the basis that is not reported, those alone whose settings ask for it.
    """
    made: dict[
        str, IntensitySource
    ] = {}  # a source stays the same when other settings change: it limits its own requests

    def of(its: CarbonSettings) -> list[IntensitySource]:
        network = [given for given in its.intensity.sources if not isinstance(given, StaticSourceSettings)]
        if other:
            network = [given for given in network if isinstance(given, ElectricityMapsSettings) and given.both_bases]
        basis = other_basis(its.basis) if other else its.basis
        for given in network:
            made.setdefault(given.model_dump_json(), make_source(given, basis))
        return [made[given.model_dump_json()] for given in network]

    return carbon.map(of)


class IntensityPoller:
    """Brings the ledger's intensities up to date; any number of servers share the turns."""

    def __init__(
        self,
        engine: sa.Engine,
        settings: Settings,
        registry: CollectorRegistry,
        sources: Sequence[IntensitySource] | None = None,
        others: Mapping[str, IntensitySource] | None = None,
    ) -> None:
        """`sources`: in place of the settings' own, for tests; `others`: those of the other basis, by name."""
        self._engine, self._settings = engine, settings
        self._carbon = settings.carbon
        self._sources = make_sources(settings.carbon) if sources is None else Timeline.always(list(sources))
        self._basis = settings.carbon.at(0).basis
        made = make_sources(settings.carbon, other=True).map(lambda its: {source.name: source for source in its})
        self._others = made if others is None else Timeline.always(dict(others))
        self._places = settings.carbon.map(Places)
        self._failing: set[tuple[str, str, str]] = set()
        self._polls = Counter(
            "carbonbudget_intensity_polls", "Questions to sources of intensities.", ["source", "outcome"],
            registry=registry,
        )  # fmt: skip

    async def step(self, now: int, force: bool = False) -> int:
        """Ask every source whose turn it is for every zone that nodes stand in; how many hours changed."""
        return sum(done.changed for done in await self.ask(now, force))

    async def ask(self, now: int, force: bool = False) -> list[Fetched]:
        """The same, with what each source gave for each zone; those whose turn it is not are left out."""
        sources = self._sources.at(now)
        if not sources:
            return []
        zones = await asyncio.to_thread(self.zones, now, max(source.max_days for source in sources))
        done = [self._poll(source, zone, name, now, force) for source, zone, name in self.wanted(sources, zones)]
        return [found for found in await asyncio.gather(*done) if found is not None]

    def sources(self, now: int) -> list[IntensitySource]:
        """The sources that are asked now. A forecast is asked of the same ones: they limit their own requests."""
        return self._sources.at(now)

    @staticmethod
    def wanted(sources: Sequence[IntensitySource], zones: Iterable[str]) -> list[tuple[IntensitySource, str, str]]:
        """Each source with our zone and its own name for it."""
        named = ((source, zone, source.zone_name(zone)) for source in sources for zone in zones)
        return [(source, zone, name) for source, zone, name in named if name is not None]

    async def _poll(self, source: IntensitySource, zone: str, name: str, now: int, force: bool) -> Fetched | None:
        carbon = self._carbon.at(now)
        interval = 0 if force else carbon.intensity.interval_seconds
        if not await asyncio.to_thread(claim_poll, self._engine, source.name, zone, now, interval):
            return None
        asked: list[tuple[str, IntensitySource]] = [(self._basis, source)]
        if (other := self._others.at(now).get(source.name)) is not None and other.zone_name(zone) is not None:
            asked.append((other_basis(self._basis), other))
        hours = changed = 0
        for basis, its in asked:  # the reported basis comes first: it is stored even if the other one fails
            failing = (source.name, zone, basis)
            try:
                given, new = await self._fetch(its, basis, zone, name, now)
            except IntensitySourceError as error:
                self._polls.labels(source.name, "failed").inc()
                if failing not in self._failing:  # once, until it works again
                    _log.warning("zone %s: %s; %s", zone, error, _STANDS_IN if basis == self._basis else _NOT_SPLIT)
                self._failing.add(failing)
                await asyncio.to_thread(fail_poll, self._engine, source.name, zone, str(error))
                return Fetched(source.name, zone, hours, changed, str(error))
            self._failing.discard(failing)
            self._polls.labels(source.name, "answered").inc()
            hours, changed = hours + given * (basis == self._basis), changed + new
        return Fetched(source.name, zone, hours, changed)

    async def _fetch(self, source: IntensitySource, basis: str, zone: str, name: str, now: int) -> tuple[int, int]:
        """Fetch the missing hours of one basis; how many came and changed. Raises IntensitySourceError."""
        start, end = await asyncio.to_thread(self._missing, source, basis, zone, now)
        points = await source.fetch(name, start, end)
        series = {hour: figure for hour, figure in hourly_means(points).items() if start <= hour < end}
        if not series:
            raise IntensitySourceError(f"{source.name}: no figure of zone {zone} in the last {(end - start) // HOUR} h")
        reach = self._carbon.at(now).intensity.max_age_hours
        store = partial(store_intensities, self._engine, source.name, zone, basis, series, now, reach)
        return len(series), await asyncio.to_thread(store)

    def zones(self, now: int, days: int) -> list[str]:
        """Where nodes stand, or stood by the settings of that time, that have reported in the time of so many days."""
        since = now - days * _DAY
        with self._engine.connect() as connection:
            nodes = read_nodes(connection, self._settings.cluster, since=since).values()
        places = self._places.within(since, now + 1)
        return sorted({zone for its in places for node in nodes if (zone := its.of(node, now).grid_zone)})

    def _missing(self, source: IntensitySource, basis: str, zone: str, now: int) -> tuple[int, int]:
        """From the first hour that has facts and no figure, or may be revised, to the end of this one."""
        end = now - now % HOUR + HOUR
        first = end - source.max_days * _DAY
        carbon = self._carbon.at(now)
        revised = end - carbon.intensity.revised_hours * HOUR
        with self._engine.connect() as connection:
            known = load_intensities(connection, basis, first, end).get((source.name, zone), {})
            missing = (hour for hour in hours_with_facts(connection, first, end) if hour not in known and hour >= first)
            return max(first, min(next(missing, revised), revised)), end
