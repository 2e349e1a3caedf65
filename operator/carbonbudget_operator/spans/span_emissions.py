"""Divides the hourly emissions of a pod among its spans, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from carbonbudget_operator.spans.span_division import Division

State = Literal["provisional", "final"]


@dataclass(frozen=True, slots=True)
class PodHour:
    """One pod's valued hour: emissions in micrograms of CO2e, energy in microjoules. `start_ms` is a whole hour.

    `location_ug` and `market_ug` are dynamic, idle and overhead emissions, as in a valued row; [`low_ug`, `high_ug`] is
    the range of the sum of `location_ug`. `metered_uj` is the part of `energy_uj` that no model made. `final`: nothing
    of the hour is still to come.
    """

    start_ms: int
    location_ug: tuple[int, int, int]
    market_ug: tuple[int, int, int]
    embodied_ug: int
    low_ug: int
    high_ug: int
    energy_uj: int
    metered_uj: int
    final: bool


@dataclass(frozen=True, slots=True)
class SpanEmissions:
    """What a span emitted, in micrograms; embodied emissions stand apart and [low, high] is without them."""

    emissions_ug: int
    market_ug: int
    embodied_ug: int
    low_ug: int
    high_ug: int
    measured_permille: int
    state: State


@dataclass(frozen=True, slots=True)
class EmissionsDivision:
    """Exclusive figures by span id, which add up with `rest` to the hours; `inclusive` ones, which do not add up.

    A span none of whose hours is valued yet is in neither mapping.
    """

    spans: Mapping[str, SpanEmissions]
    inclusive: Mapping[str, SpanEmissions]
    rest: SpanEmissions


def divide_emissions(hours: Iterable[PodHour], division: Division) -> EmissionsDivision:
    """Divide each hour's emissions among the spans: idle and embodied ones by time, all others by energy."""
    raise NotImplementedError
