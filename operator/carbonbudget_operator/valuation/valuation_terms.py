"""Valuation terms: the settings by which an hour is valued, for each time, and the objects made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbonbudget_operator.allocation.policy import AllocationPolicy
from carbonbudget_operator.carbon.intensity.hourly_intensity import Stated
from carbonbudget_operator.intensity_settings import StaticSourceSettings, milligrams
from carbonbudget_operator.settings import AllocationSettings, CarbonSettings, Settings
from carbonbudget_operator.timeline import Timeline, merge
from carbonbudget_operator.valuation.node_factors import Places
from carbonbudget_operator.valuation.valuer import Valuer


@dataclass(frozen=True, slots=True)
class ValuationTerms:
    """The settings of one time span as plain values, and the objects that apply them."""

    carbon: CarbonSettings
    places: Places
    policy: AllocationPolicy
    valuer: Valuer
    stated: Mapping[str, Stated]  # by name of a source: the figures that the settings state


def terms_of(settings: Settings) -> Timeline[ValuationTerms]:
    """The terms of every hour: those in force at its start."""
    return merge(settings.carbon, settings.allocation).map(_make)


def _make(given: tuple[CarbonSettings, AllocationSettings]) -> ValuationTerms:
    carbon, allocation = given
    places, policy = Places(carbon), allocation.policy()
    stated = {one.name: _stated(one) for one in carbon.intensity.sources if isinstance(one, StaticSourceSettings)}
    return ValuationTerms(carbon, places, policy, Valuer(places, policy), stated)


def _stated(source: StaticSourceSettings) -> Stated:
    figures, others = milligrams(source.figures), milligrams(source.other_figures)
    return {zone: (figure, others.get(zone)) for zone, figure in figures.items()}
