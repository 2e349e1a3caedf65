"""The factors by which energy is valued now: of each node, and those that the settings state.

`carbonbudget factors` prints the same. Nodes are named for those who may read the whole cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from carbonbudget_operator.carbon.grid_factors import WORLD
from carbonbudget_operator.intensity_settings import StaticSourceSettings, milligrams
from carbonbudget_operator.ledger.fact_reader import read_nodes
from carbonbudget_operator.ledger.intensity_store import polls
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.market_settings import MarketSettings
from carbonbudget_operator.settings import CarbonSettings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader


@dataclass(frozen=True, slots=True, order=True)
class NodeFactors:
    """The factors of one node, or of several whose names are not shown; sentences say where each is from."""

    node: str
    region: str
    zone: str
    placed: bool  # False: the zone is not known, and the world's mean stands in
    location_mg_per_kwh: int
    market_mg_per_kwh: int
    pue_permille: int
    basis: str
    location_why: str
    market_why: str
    embodied_why: str


@dataclass(frozen=True, slots=True)
class MarketInstrument:
    """A market factor of the settings. `start` and `end` are a contract's days."""

    kind: str
    name: str
    zone: str
    g_per_kwh: Decimal | None
    source: str
    year: int | None = None
    start: str | None = None
    end: str | None = None
    kwh: int | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source's state for a zone: the UTC second of its last good answer, 0 for none, and its present error."""

    source: str
    zone: str
    good_at: int
    error: str


@dataclass(frozen=True, slots=True)
class StatedIntensity:
    """A zone's intensity as the settings state it."""

    source: str
    zone: str
    mg_per_kwh: int


@dataclass(frozen=True, slots=True)
class FactorsInForce:
    """All of them at one instant; `nodes` in order."""

    nodes: list[NodeFactors]
    sources: list[SourceState]
    stated: list[StatedIntensity]
    instruments: list[MarketInstrument]


def factors_in_force(reader: ValuedReader, now: int, named: bool) -> FactorsInForce:
    """The factors at the UTC second `now`. `named`: a row for each node; else a row for each set of factors."""
    terms = reader.terms.at(now)
    with snapshot(reader.engine) as connection:
        nodes = read_nodes(connection, reader.cluster).values()
        hours = reader.grid(connection, now - now % HOUR)
    rows: set[NodeFactors] = set()
    for node in nodes:
        place = terms.places.of(node, now, hours)
        others = sorted(place.factors - {place.why})
        rows.add(
            NodeFactors(
                node.name if named else "", node.region, place.zone, place.zone != WORLD, place.mg_per_kwh,
                place.market.mg_per_kwh, place.pue_permille, place.basis, "; ".join([place.why, *others]),
                "; ".join(sorted(place.market.factors)), terms.places.hardware(node).why,
            )
        )  # fmt: skip
    return FactorsInForce(
        sorted(rows), source_states(reader, now), list(_stated(terms.carbon)), list(_instruments(terms.carbon.market))
    )


def source_states(reader: ValuedReader, now: int) -> list[SourceState]:
    """The states of the sources in force that are asked over the network, in order of source and zone."""
    sources = reader.terms.at(now).carbon.intensity.sources
    names = {one.name for one in sources if not isinstance(one, StaticSourceSettings)}
    with snapshot(reader.engine) as connection:
        states = polls(connection).values()
    found = [SourceState(one.source, one.zone, one.good_at, one.error) for one in states if one.source in names]
    return sorted(found, key=lambda one: (one.source, one.zone))


def _stated(carbon: CarbonSettings) -> Iterator[StatedIntensity]:
    for one in carbon.intensity.sources:
        if isinstance(one, StaticSourceSettings):
            for zone, mg_per_kwh in sorted(milligrams(one.figures).items()):
                yield StatedIntensity(one.words, zone, mg_per_kwh)


def _instruments(market: MarketSettings) -> Iterator[MarketInstrument]:
    for contract in market.contracts:
        yield MarketInstrument(
            "contract", contract.name, contract.zone.upper(), contract.g_per_kwh, contract.certificate,
            start=contract.start.isoformat(), end=contract.end.isoformat(), kwh=contract.kwh,
        )  # fmt: skip
    if market.supplier is not None:
        rate = market.supplier
        yield MarketInstrument("supplier", "", "", rate.g_per_kwh, rate.source, rate.year)
    for mix in market.residual_mixes:
        yield MarketInstrument("residualMix", "", mix.zone.upper(), mix.g_per_kwh, mix.source, mix.year)
    for provider in market.attested_providers:
        yield MarketInstrument("attestedProvider", provider, "", None, "the provider's own claims of its regions")
