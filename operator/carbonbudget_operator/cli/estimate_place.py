"""The place that an estimate is for: one grid zone, one cloud region, or the world's mean, which the output names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from carbonbudget_operator.carbon.grid_factors import (
    NO_PROVIDER,
    WORLD,
    GridFactor,
    UnknownZone,
    Wording,
    bases_of_zones,
    check_zone,
    find_factor,
    providers,
    regions,
)
from carbonbudget_operator.carbon.providers import Provider

_OPTIONS: Final = Wording(
    zone="--zone",
    pue="--pue",
    no_region="no place is given",
)


class NoPlace(ValueError):
    """The options name no place, or two; one line says which option to change."""


def find_place(region: str, provider: str, zone: str, pue: float | None, basis: str) -> GridFactor:
    """The factor of the place that `--region` (with `--provider`) or `--zone` names. Raises NoPlace."""
    if region and zone:
        raise NoPlace("write either --region or --zone: each names a place, and --pue gives a PUE of your own")
    if provider and not region:
        raise NoPlace("--provider needs --region: it says whose region of that name is meant")
    if zone:
        _check_zone(zone, basis)
    if region:
        _check_region(region, provider)
    given = Provider(provider, "cloud") if provider else NO_PROVIDER
    return find_factor(region, given, zone, None if pue is None else round(pue * 1000), basis, _OPTIONS)


def stand_in_note(factor: GridFactor, basis: str) -> str:
    """The sentence that a figure of another place or basis is used; empty for what the options ask for."""
    if factor.zone == WORLD:
        return "this is for the world's mean: --region or --zone chooses a place"
    if factor.basis != basis:
        return f"this is by the {factor.basis} figure: no {basis} figure is bundled for {factor.zone}"
    return ""


def _check_zone(zone: str, basis: str) -> None:
    try:
        check_zone(zone, basis)
    except UnknownZone:
        bases = bases_of_zones()
        if zone.upper() not in bases:
            raise NoPlace(f"--zone {zone!r} is no zone of the bundled table{_meant(zone.upper(), bases)}") from None
        other = " and ".join(bases[zone.upper()])
        hint = f"it has a {other} one, by --basis" if other else "give a cloud region there, by --region"
        raise NoPlace(f"--zone {zone!r} has no {basis} figure in the bundled table: {hint}") from None


def _check_region(region: str, provider: str) -> None:
    known = regions()
    if region not in known:
        raise NoPlace(f"--region {region!r} is no cloud region of the bundled table{_meant(region, known)}")
    if provider and provider not in providers():
        raise NoPlace(f"--provider {provider!r} is not known: use one of {', '.join(sorted(providers()))}")
    if provider and provider not in known[region]:
        raise NoPlace(f"--provider {provider} has no region {region!r}: that is of {' and '.join(known[region])}")
    if not provider and len(known[region]) > 1:
        raise NoPlace(f"--region {region!r} exists at {' and '.join(known[region])}: --provider says which one")


def _meant(given: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f": did you mean {close[0]}?" if close else ": --zone takes a grid zone, for example DE, --region a cloud's"
