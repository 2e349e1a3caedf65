"""The grid intensities of a window by hour, zone and source, and which of them value the energy of the hour.

The rows have what sources published and what the settings state. Where no source has an hour, the figure that stands
in for it is there too: an earlier one of a source, else the yearly one of the bundled tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import sqlalchemy as sa

from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.answers.window_parser import Range
from carbonbudget_operator.carbon.basis_split import other_basis
from carbonbudget_operator.carbon.grid_factors import WORLD
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.fact_reader import read_nodes
from carbonbudget_operator.ledger.facts import NodeFacts
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valuation.node_factors import Place, Places
from carbonbudget_operator.valuation.valuation_terms import ValuationTerms
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

FigureKind = Literal["published", "stated", "standIn", "yearly", "forecast"]
_NOBODY: Final = NodeFacts(0, "", "", "", "", "", 0)  # a node of which nothing is known: the settings place it


@dataclass(frozen=True, slots=True)
class ZoneIntensity:
    """A zone's figure for the hour from the UTC second `start`, in mgCO2e per kWh.

    `applied`: energy of this hour is valued by it. `age_hours`: how many hours earlier a figure is of that stands in.
    `received`: the UTC second at which it was stored; None for figures of the settings and of the bundled tables.
    `low_mg_per_kwh` and `high_mg_per_kwh` are the range of a forecast.
    """

    start: int
    zone: str
    source: str
    basis: str
    mg_per_kwh: int
    kind: FigureKind
    estimated: bool
    age_hours: int
    received: int | None
    applied: bool
    low_mg_per_kwh: int | None = None
    high_mg_per_kwh: int | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    mg_per_kwh: int
    estimated: bool
    received: int


_Figures = Mapping[tuple[str, str, str, int], _Stored]  # by source, zone, basis and hour


def zones_of_nodes(reader: ValuedReader, window: Range) -> list[str]:
    """The zones of the nodes that reported after the window's start, by the settings of the window."""
    with snapshot(reader.engine) as connection:
        nodes = read_nodes(connection, reader.cluster, since=window[0]).values()
    kinds = {(node.region, node.provider_id): node for node in nodes}.values()
    places = (terms.places.of(node, window[0]) for terms in reader.terms.within(*window) for node in kinds)
    return sorted({place.grid_zone or place.zone for place in places})


def grid_intensity(reader: ValuedReader, zones: Collection[str], window: Range, now: int) -> Iterator[ZoneIntensity]:
    """The figures of the window's hours that have begun at the UTC second `now`, in order of hour and zone."""
    start, end = covered_range(window[0], max(window[0] + 1, min(window[1], now)))
    if window[0] >= now:
        return
    oldest = max(terms.carbon.intensity.max_age_hours for terms in reader.terms.within(start, end))
    with snapshot(reader.engine) as connection:
        figures = _load(connection, zones, start - oldest * HOUR, end)
        nodes = read_nodes(connection, reader.cluster, since=start).values()
    yearly = _YearlyFigures({(node.region, node.provider_id): node for node in nodes}.values())
    for hour in range(start, end, HOUR):
        terms = reader.terms.at(hour)
        for zone in sorted(zones):
            found = list(_of_sources(terms, figures, zone, hour))
            yield from found
            if not any(one.applied for one in found):
                former = _former(terms, figures, zone, hour)
                yield from yearly.of(terms, zone, hour) if former is None else [former]


def stated_intensity(terms: ValuationTerms, zone: str, hour: int) -> ZoneIntensity | None:
    """The figure that the settings state for an hour, whether or not a source also has one."""
    return next((one for one in _of_sources(terms, {}, zone, hour) if one.applied), None)


def _load(connection: sa.Connection, zones: Collection[str], start: int, end: int) -> _Figures:
    c = schema.grid_hour.c
    rows = connection.execute(
        sa.select(c.source, c.zone, c.basis, c.hour, c.mg_per_kwh, c.estimated, c.seen_at)
        .where(c.zone.in_(sorted(zones)), c.hour >= start, c.hour < end)
        .order_by(c.seen_at)  # of an hour that changed the latest figure is left
    )
    return {tuple(row[:4]): _Stored(row[4], bool(row[5]), row[6]) for row in rows}


def _of_sources(terms: ValuationTerms, figures: _Figures, zone: str, hour: int) -> Iterator[ZoneIntensity]:
    """What the sources have for the hour itself, in the order in which they are asked, the reported basis first."""
    basis, applied = terms.carbon.basis, False
    for source in terms.carbon.intensity.sources:
        for of in (basis, other_basis(basis)):
            row = None
            if source.name in terms.stated:
                mg, other_mg = terms.stated[source.name].get(zone, (None, None))
                mg = mg if of == basis else other_mg
                if mg is not None:
                    row = ZoneIntensity(hour, zone, source.words, of, mg, "stated", False, 0, None, False)
            elif (stored := figures.get((source.name, zone, of, hour))) is not None:
                row = _row(stored, hour, zone, source.words, of, "published")
            if row is not None:
                yield replace(row, applied=not applied and of == basis)
                applied = applied or of == basis


def _former(terms: ValuationTerms, figures: _Figures, zone: str, hour: int) -> ZoneIntensity | None:
    """The figure of an earlier hour that stands in for this one."""
    intensity, basis = terms.carbon.intensity, terms.carbon.basis
    for source in intensity.sources:
        for age in range(1, intensity.max_age_hours + 1):
            stored = figures.get((source.name, zone, basis, hour - age * HOUR))
            if stored is not None and source.name not in terms.stated:
                return replace(_row(stored, hour, zone, source.words, basis, "standIn"), age_hours=age, applied=True)
    return None


def _row(stored: _Stored, hour: int, zone: str, words: str, basis: str, kind: FigureKind) -> ZoneIntensity:
    return ZoneIntensity(
        hour, zone, words, basis, stored.mg_per_kwh, kind, stored.estimated, 0, stored.received, applied=False
    )


class _YearlyFigures:
    """The bundled figures of zones. Nodes of one zone have several where their provider publishes its own."""

    def __init__(self, nodes: Collection[NodeFacts]) -> None:
        self._nodes = nodes
        self._known: dict[tuple[int, str], list[Place]] = {}

    def of(self, terms: ValuationTerms, zone: str, hour: int) -> list[ZoneIntensity]:
        """The yearly figures of the zone in order, each once."""
        key = (id(terms), zone)
        if key not in self._known:
            places = [terms.places.of(node, hour) for node in self._nodes]
            places = [place for place in places if (place.grid_zone or place.zone) == zone]
            named = "" if zone == WORLD else zone
            places = places or [Places(terms.carbon.model_copy(update={"zone": named})).of(_NOBODY, hour)]
            self._known[key] = list({_sentence(place): place for place in places}.values())
        return sorted(
            (
                ZoneIntensity(
                    hour, zone, _sentence(place), place.basis, place.mg_per_kwh, "yearly", False, 0, None, applied=True
                )
                for place in self._known[key]
            ),
            key=lambda row: row.source,
        )


def _sentence(place: Place) -> str:
    """The sentence of a yearly intensity, without that of the PUE."""
    return place.why.removesuffix(f", {place.pue_why}")
