"""The factors of each node: grid zone, intensity, PUE, market factor, and embodied emissions of its hardware."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Final

from carbonbudget_operator.api.budget_query_bodies import NO_MARKET_FACTOR
from carbonbudget_operator.carbon.basis_split import AccountingBases
from carbonbudget_operator.carbon.embodied import EmbodiedDevice
from carbonbudget_operator.carbon.grid_factors import (
    WORLD,
    UnknownZone,
    claimants,
    find_claim,
    find_country,
    find_factor,
    find_zone,
    is_zone,
    providers,
)
from carbonbudget_operator.carbon.hardware import ManufacturingEmissions, find_hardware
from carbonbudget_operator.carbon.intensity.hourly_intensity import HourIntensity, IntensityHours
from carbonbudget_operator.carbon.market import EnergyContract
from carbonbudget_operator.carbon.providers import OWN, Provider, find_provider
from carbonbudget_operator.dated_settings import utc
from carbonbudget_operator.ledger.facts import NodeFacts
from carbonbudget_operator.settings import CarbonSettings
from carbonbudget_operator.timeline import Timeline

# Who owns the nodes, as stored in rows: energy of owned nodes is Scope 2, a cloud's nodes are purchased
# services to their tenant, and nodes that are leased and operated by their lessor are leased assets
# (`ghg_inventory.py`).
SCOPE_2 = "Scope 2"
SCOPE_3 = "Scope 3, category 1"
LEASED = "Scope 3, category 8"
_UNKNOWN: Final = AccountingBases(None, None)


@dataclass(frozen=True, slots=True)
class UncontractedFactor:
    """The market factor of energy without a contract; `stands_in`: the location's factor is used, as there is none."""

    mg_per_kwh: int
    factors: frozenset[str]
    stands_in: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A node's zone, grid intensity and PUE, with the sentences that explain them."""

    zone: str
    mg_per_kwh: int
    pue_permille: int
    basis: str
    factors: frozenset[str]
    market: UncontractedFactor
    grid_zone: str = ""  # the one that hourly sources are asked for; empty: not known
    pue_why: str = ""
    why: str = ""  # the sentence of the intensity and PUE, one of `factors`
    # Where an instrument must deliver to count here: zone and country; empty where none counts (`Places._find`).
    market_zones: frozenset[str] = frozenset()
    bases: AccountingBases = _UNKNOWN  # what the intensity has of direct and of upstream emissions

    def at(self, live: HourIntensity) -> Place:
        """This place with an hour's own intensity."""
        basis = live.basis  # a yearly figure may stand in with another one; an hourly one is of the basis asked for
        bases = AccountingBases.of(basis, live.mg_per_kwh, live.other_mg)
        both = "" if None in (bases.direct_mg, bases.lifecycle_mg) else ", direct and life-cycle"
        why = f"{self.grid_zone} {basis}, {live.why}{both}, {self.pue_why}"
        market = replace(self.market, mg_per_kwh=live.mg_per_kwh) if self.market.stands_in else self.market
        return replace(
            self, mg_per_kwh=live.mg_per_kwh, basis=basis, factors=frozenset({why}), market=market, bases=bases, why=why
        )


@dataclass(frozen=True, slots=True)
class NodeHardware:
    """The embodied emissions of a node."""

    server: EmbodiedDevice
    gpus: EmbodiedDevice | None
    why: str


class Places:
    """Finds places by the configuration and the bundled tables. Threads share it."""

    def __init__(self, carbon: CarbonSettings) -> None:
        self._carbon = carbon
        self._places: dict[tuple[str, Provider], Place] = {}
        self._hardware: dict[tuple[bool, int, int, int], NodeHardware] = {}

    def of(self, node: NodeFacts, at: int, hours: IntensityHours | None = None) -> Place:
        """The node's place at the UTC second `at`; `hours` has the hourly figures of that time."""
        key = (node.region, self._provider(node))
        if key not in self._places:
            self._places[key] = self._find(node)
        place = self._places[key]
        live = hours.find(place.grid_zone, at) if hours is not None and place.grid_zone else None
        return place if live is None else place.at(live)

    def scope(self, node: NodeFacts) -> str:
        """Whose emissions the node's energy is: the owner's Scope 2, or a cloud tenant's or lessee's Scope 3."""
        if self._carbon.ownership == "leased":
            return LEASED
        return SCOPE_3 if self._is_cloud(node) else SCOPE_2

    def hardware(self, node: NodeFacts, gpus: int | None = None) -> NodeHardware:
        """The node's devices by its latest report. GPUs may appear minutes after their node.

        `gpus` is how many it really has, where that is known: it may offer shares of them.
        """
        gpus = node.gpus if gpus is None else gpus
        cloud = self._is_cloud(node)
        key = (cloud, node.threads, gpus, node.gpus)
        if key not in self._hardware:
            embodied = self._carbon.embodied
            found = find_hardware(
                cloud=cloud,
                threads=node.threads,
                gpus=gpus,
                server_kg=embodied.server_kg,
                gpu_kg=embodied.gpu_kg,
                host_threads=embodied.host_threads,
                offered_gpus=node.gpus,
            )
            since = 0 if embodied.in_service is None else _midnight(embodied.in_service)

            def device(made: ManufacturingEmissions) -> EmbodiedDevice:
                return EmbodiedDevice(made.grams, embodied.life_years, since, made.low_grams, made.high_grams)

            why = f"{found.why}, over {embodied.life_years} years"
            self._hardware[key] = NodeHardware(device(found.server), device(found.gpus) if gpus else None, why)
        return self._hardware[key]

    @cached_property
    def contract_zones(self) -> list[str]:
        """Where contracts deliver to, parts of countries first."""
        return sorted({contract.zone for contract in self.contracts}, key=lambda zone: ("-" not in zone, zone))

    @cached_property
    def contracts(self) -> list[EnergyContract]:
        """The contracts that the settings list."""
        return [
            EnergyContract(
                contract.name,
                contract.certificate,
                contract.zone.upper(),
                _midnight(contract.start),
                _midnight(contract.end),
                contract.kwh,
                _mg(contract.g_per_kwh),
            )
            for contract in self._carbon.market.contracts
        ]

    def _provider(self, node: NodeFacts) -> Provider:
        return find_provider(node.provider_id, node.region, self._carbon.provider)

    def _is_cloud(self, node: NodeFacts) -> bool:
        """Whether the node belongs to a cloud provider. An unclear owner counts as one, and the factors note it."""
        if self._carbon.ownership == "auto":
            return self._provider(node).owner != OWN
        return self._carbon.ownership == "cloud"

    def _find(self, node: NodeFacts) -> Place:
        pue, provider = self._carbon.pue, self._provider(node)
        factor = find_factor(
            region=node.region,
            provider=provider,
            zone=self._carbon.zone,
            pue_permille=None if pue is None else round(pue * 1000),
            basis=self._carbon.basis,
        )
        where = (node.region, provider, self._carbon.zone)
        grid_zone, country = find_zone(*where), find_country(*where)
        notes = {provider.why} if provider.why and self._carbon.ownership == "auto" else set[str]()
        zones = [zone for zone in (grid_zone, factor.zone, country) if zone not in ("", WORLD)]
        claim = self._attested_claim(node, provider)
        # Instruments are redeemed for the reporting company's own purchases (Scope 2 Guidance, chapter 7, table 7.1).
        # What a claim covers already is no purchase without an instrument.
        is_bought = self.scope(node) == SCOPE_2
        return Place(
            zone=factor.zone,
            mg_per_kwh=factor.intensity_mg_per_kwh,
            pue_permille=factor.pue_permille,
            basis=factor.basis,
            factors=frozenset({factor.why, *notes}),
            why=factor.why,
            market=claim or self._market(zones, factor.intensity_mg_per_kwh, is_bought),
            grid_zone=grid_zone,
            pue_why=factor.pue_why,
            market_zones=frozenset(zones if is_bought and claim is None else ()),
            bases=AccountingBases.of(factor.basis, factor.intensity_mg_per_kwh),
        )

    def _attested_claim(self, node: NodeFacts, provider: Provider) -> UncontractedFactor | None:
        """The provider's own factor for its nodes, if it is attested: it has certificates for this region.

        A region's name alone does not make an owned machine the provider's.
        """
        claim = find_claim(node.region, provider)
        if claim is None or claim.provider not in self._carbon.market.attested_providers:
            return None
        if not provider.name and self.scope(node) == SCOPE_2:
            return None
        return UncontractedFactor(claim.mg_per_kwh, frozenset({f"market: {claim.why}, attested"}), stands_in=False)

    def _market(self, zones: Sequence[str], location_mg: int, is_bought: bool) -> UncontractedFactor:
        """The factor of energy without a contract or claim: the supplier, the residual mix, or none.

        The supplier is that of the company itself, so its factor is for electricity that the company buys itself
        (`is_bought`). A residual mix applies to all energy without a certificate.
        """
        given = self._carbon.market
        residual = next((mix for zone in zones for mix in given.residual_mixes if mix.zone.upper() == zone), None)
        supplier = given.supplier if is_bought else None
        for name, rate in (("supplier", supplier), ("residual mix", residual)):
            if rate is not None:
                why = f"market: {name} {rate.g_per_kwh:f} g/kWh ({rate.source}, {rate.year})"
                return UncontractedFactor(_mg(rate.g_per_kwh), frozenset({why}), stands_in=False)
        missing = "contract, supplier" if is_bought else "attested claim"
        why = f"{NO_MARKET_FACTOR}: no {missing} or residual mix is configured for it; the location's factor stands in"
        return UncontractedFactor(location_mg, frozenset({why}), stands_in=True)


def check_all_places(carbon: Timeline[CarbonSettings]) -> None:
    """As `check_places`, for the settings of all times; the message states from when on they are wrong."""
    for start, its in carbon:
        try:
            check_places(its)
        except UnknownZone as error:
            raise UnknownZone(f"{error} (in force from {utc(start)})" if start else str(error)) from None


def check_places(carbon: CarbonSettings) -> None:
    """Raise UnknownZone for a zone or provider in the configuration that no node can have: it would never count."""
    # A zone without a figure of the basis is none to refuse: its other one stands in where no source has the hour.
    if carbon.zone and not is_zone(carbon.zone):
        raise UnknownZone(f"carbon.zone: {carbon.zone!r} is no grid zone of the bundled tables")
    if carbon.provider and carbon.provider not in {OWN, *providers()}:
        known = ", ".join([OWN, *sorted(providers())])
        raise UnknownZone(f"carbon.provider {carbon.provider!r} is not known: use one of {known}")
    market = carbon.market
    for name in market.attested_providers:
        if name not in claimants():
            known = ", ".join(sorted(claimants()))
            raise UnknownZone(
                f"carbon.market.attested_providers: {name!r} is no provider with bundled claims: use some of {known}"
            )
    sources = [
        (
            f"intensity.sources of {source.name}",
            [zone for field in ("zones", "figures", "other_figures") for zone in getattr(source, field, ())],
        )
        for source in carbon.intensity.sources
    ]
    for key, zones in (
        *sources,
        ("market.contracts", [contract.zone for contract in market.contracts]),
        ("market.residual_mixes", [mix.zone for mix in market.residual_mixes]),
    ):
        for zone in zones:
            if not is_zone(zone):
                raise UnknownZone(f"carbon.{key}: {zone!r} is no grid zone of the bundled tables")


def _midnight(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())


def _mg(g_per_kwh: Decimal) -> int:
    return int(g_per_kwh * 1000)
