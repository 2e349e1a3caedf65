"""Selects the grid factor and the PUE of a node from the settings and the bundled tables, with an explanation.

The location-based factor comes from the first of these that has a figure of the requested basis (lifecycle or direct):
the configured zone and its country; without a configured zone the node's cloud region, its zone and its country. If
none has one, the first that has a figure of the other basis is used. Only a place that is not known gets the mean of
the world, which has a lifecycle figure alone. The explanation states it: the basis never changes silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from carbonbudget_operator.carbon.basis_split import DIRECT, LIFECYCLE, other_basis
from carbonbudget_operator.carbon.intensity_text import g_per_kwh
from carbonbudget_operator.carbon.providers import Provider, read_table, region_name

WORLD: Final = "WORLD"
# Mean PUE of Uptime Institute's global survey of 2023, for data centres that publish none.
DEFAULT_PUE_PERMILLE: Final = 1580
_DEFAULT_PUE_SOURCE: Final = "Uptime Institute survey average, 2023"
# Yearly figures of small grids are rounded, some to 0. No power source has a lifecycle median below that of wind
# (IPCC AR5, Annex III: 11 g/kWh), so lower lifecycle figures are raised to it.
_LIFECYCLE_FLOOR_MG: Final = 11_000
NO_PROVIDER: Final = Provider("", "own")
_WORDS: Final = {LIFECYCLE: "life-cycle", DIRECT: "direct"}


@dataclass(frozen=True, slots=True)
class GridFactor:
    """Intensity in mgCO2e/kWh and PUE in thousandths, each with an explanation.

    `pue_known` is false if the PUE is the average of the survey.
    """

    zone: str
    intensity_mg_per_kwh: int
    pue_permille: int
    basis: str
    grid_why: str
    pue_why: str
    pue_known: bool

    @property
    def why(self) -> str:
        """Both explanations in one sentence."""
        return f"{self.grid_why}, {self.pue_why}"


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of explanations. They differ between nodes (labels and settings) and commands (options)."""

    zone: str = "configured zone"
    pue: str = "configured"
    no_region: str = "the node has no region label"


OF_NODES: Final = Wording()


@dataclass(frozen=True, slots=True)
class _Figure:
    zone: str
    mg_per_kwh: int
    basis: str
    year: str
    source: str
    country: str = ""


_Candidate = tuple[Sequence[_Figure], str]  # figures of one place, and how the place was found


@dataclass(frozen=True, slots=True)
class _Region:
    provider: str
    country: str
    figure: _Figure
    pue_permille: int
    pue_source: str
    claim: ProviderClaim | None


@dataclass(frozen=True, slots=True)
class ProviderClaim:
    """A provider's own market-based figure for a region. It is used only if the configuration attests it."""

    provider: str
    mg_per_kwh: int
    why: str


class UnknownZone(ValueError):
    """A zone that is in no bundled table, or has no figure of the basis that is asked for."""


def check_zone(zone: str, basis: str) -> None:
    """Raise UnknownZone unless `zone` is empty or has a figure of `basis` of its own."""
    if zone and not any(figure.basis == basis for figure in _zones().get(zone.upper(), ())):
        raise UnknownZone(f"{zone!r} has no {basis} figure in the bundled table")


def regions() -> dict[str, list[str]]:
    """The cloud regions of the table, each with the providers that have a region of this name."""
    return {name: sorted(row.provider for row in rows) for name, rows in _regions().items()}


def find_factor(
    region: str,
    provider: Provider,
    zone: str,
    pue_permille: int | None,
    basis: str,
    wording: Wording = OF_NODES,
) -> GridFactor:
    """The factor of a node, or of the place that a command's options name.

    `region` is the node's label. `zone` and `pue_permille` are configured, or empty and None. `basis` is lifecycle or
    direct.
    """
    place = _find_region(region, provider)
    candidates = _candidates(place, region, zone, wording)
    figure, how = _find_figure(candidates, basis) or (
        _zones()[WORLD][0],
        f"world mean: {_why_unknown(region, provider, wording)}",
    )
    intensity, basis_note = figure.mg_per_kwh, ""
    if figure.basis == "lifecycle":
        intensity = max(intensity, _LIFECYCLE_FLOOR_MG)
    if figure.basis != basis:
        stands_in = f"its {_WORDS[figure.basis]} one stands in"
        basis_note = f", no {_WORDS[basis]} figure is bundled for {figure.zone}: {stands_in}"
    if pue_permille is not None:
        pue, pue_why = pue_permille, wording.pue
    elif place is not None and place.pue_permille:
        pue, pue_why = place.pue_permille, place.pue_source
    else:
        pue, pue_why = DEFAULT_PUE_PERMILLE, _DEFAULT_PUE_SOURCE
    source = f"{figure.basis}{basis_note}, {figure.source}, {figure.year}; {how}"
    grid_why = f"{figure.zone} {g_per_kwh(intensity)} g/kWh ({source})"
    known = pue_why != _DEFAULT_PUE_SOURCE
    return GridFactor(figure.zone, intensity, pue, figure.basis, grid_why, f"PUE {pue / 1000:g} ({pue_why})", known)


def find_zone(region: str, provider: Provider, zone: str) -> str:
    """The grid zone of a node; empty if unknown."""
    place = _find_region(region, provider)
    return zone.upper() or ("" if place is None else place.figure.zone)


def find_country(region: str, provider: Provider, zone: str) -> str:
    """The country of a node; empty if unknown."""
    if zone:
        return next((figure.country for figure in _figures_of(zone.upper())), "")
    place = _find_region(region, provider)
    return "" if place is None else place.country


def is_zone(zone: str) -> bool:
    """Whether the zone is in a bundled table, so that a node can be in it."""
    return zone.upper() in _zones() or zone.upper() in _zones_of_regions()


def bases_of_zones() -> dict[str, list[str]]:
    """The zones of the tables, each with the bases of its own figures."""
    figures = {zone: sorted({figure.basis for figure in found}) for zone, found in _zones().items()}
    return {zone.upper(): [] for zone in _zones_of_regions()} | figures


def providers() -> frozenset[str]:
    """The providers of the region table."""
    return frozenset(row.provider for rows in _regions().values() for row in rows)


def claimants() -> frozenset[str]:
    """The providers that publish a market-based figure for any region. Only these can be attested."""
    return frozenset(row.provider for rows in _regions().values() for row in rows if row.claim is not None)


def find_claim(region: str, provider: Provider) -> ProviderClaim | None:
    """The provider's own market-based figure for the node's region, or None."""
    place = _find_region(region, provider)
    return None if place is None else place.claim


def _candidates(place: _Region | None, region: str, zone: str, wording: Wording) -> list[_Candidate]:
    """The figures that may apply, the nearest place first. A configured zone leaves the node's region no part in it."""
    if zone:
        country = find_country(region, NO_PROVIDER, zone)
        return [(_figures_of(zone.upper()), wording.zone), (_figures_of(country), f"country of {wording.zone}")]
    if place is None:
        return []
    zones, of_region = _zones(), f"cloud region {region}"
    return [
        ([place.figure], of_region),
        (zones.get(place.figure.zone, ()), f"zone of {of_region}"),
        (zones.get(place.country, ()), f"country of {of_region}"),
    ]


def _find_figure(candidates: Sequence[_Candidate], basis: str) -> tuple[_Figure, str] | None:
    """The first figure of the basis, else the first of the other one: a place of its own is nearer than the world."""
    for wanted in (basis, other_basis(basis)):
        for figures, how in candidates:
            for figure in figures:
                if figure.basis == wanted:
                    return figure, how
    return None


def _why_unknown(region: str, provider: Provider, wording: Wording) -> str:
    if not region:
        return wording.no_region
    others = " and ".join(sorted(row.provider for row in _regions().get(region, ())))
    if others and not provider.name:
        return f"region {region!r} exists at {others}, and the node does not show which it is: set carbon.provider"
    return f"region {region!r} is in no table" + (f" of {provider.name}" if provider.name else "")


def _find_region(region: str, provider: Provider) -> _Region | None:
    """Find a region by provider and name; without a provider, by a name that only one provider has."""
    rows = _regions().get(region_name(provider.name, region), [])
    if provider.name:
        return next((row for row in rows if row.provider == provider.name), None)
    return rows[0] if len(rows) == 1 else None


def _figures_of(zone: str) -> Sequence[_Figure]:
    """The figures of a zone: its own, else those of the cloud regions in it."""
    if found := _zones().get(zone):
        return found
    return [row.figure for rows in _regions().values() for row in rows if row.figure.zone == zone]


@cache
def _zones() -> dict[str, list[_Figure]]:
    found: dict[str, list[_Figure]] = {}
    for row in read_table("grid_intensity.csv"):
        figure = _Figure(row["zone"], int(row["mg_per_kwh"]), row["basis"], row["year"], row["source"], row["country"])
        found.setdefault(row["zone"], []).append(figure)
    return found


@cache
def _zones_of_regions() -> frozenset[str]:
    return frozenset(zone for rows in _regions().values() for row in rows for zone in (row.figure.zone, row.country))


@cache
def _regions() -> dict[str, list[_Region]]:
    found: dict[str, list[_Region]] = {}
    for row in read_table("cloud_regions.csv"):
        figure = _Figure(row["zone"], int(row["mg_per_kwh"]), row["basis"], row["year"], row["source"], row["country"])
        pue_source = f"{row['pue_scope']}, {row['pue_source']}"
        claim = None
        if row["market_mg_per_kwh"]:
            mg = int(row["market_mg_per_kwh"])
            why = f"claim of {row['provider']} for {row['region']} {g_per_kwh(mg)} g/kWh ({row['market_source']}, "
            claim = ProviderClaim(row["provider"], mg, f"{why}{row['market_year']})")
        found.setdefault(row["region"], []).append(
            _Region(row["provider"], row["country"], figure, int(row["pue_permille"] or 0), pue_source, claim)
        )
    return found
