"""Divides the hourly emissions of a pod among its spans, exactly. Pure.

A valued hour of a pod has what the pod itself used and its part of idle, overhead and embodied emissions. Idle and
embodied emissions exist because time passes, so they go by the time of each span; all others go by its energy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.spans.span_division import Division, HourDivision

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
    """Divide each hour's emissions among its spans: idle and embodied ones by time, all others by energy.

    `hours` are the pod's valued hours, each once. Column by column the exclusive figures and the rest add up to them. A
    span is final when all hours in which it has windows are valued and final; whether windows of it are still to come
    is not known here.
    """
    valued = {hour.start_ms: hour for hour in hours}
    exclusive: dict[str, _Sums] = defaultdict(_Sums)
    inclusive: dict[str, _Sums] = defaultdict(_Sums)
    rest = _Sums()
    for start_ms, hour in sorted(valued.items()):
        parts = division.hours.get(start_ms)
        if parts is None:  # no window and so no span
            rest.add(_columns(hour), hour.final)
            continue
        weights = _weights(parts)
        ids = [*sorted(parts.inclusive_uj), None]
        for span_id, columns in zip(ids, _exclusive_parts(hour, weights), strict=True):
            (rest if span_id is None else exclusive[span_id]).add(columns, hour.final)
        for index, span_id in enumerate(ids[:-1]):
            columns = _inclusive_part(hour, weights, index)
            if span_id is not None:
                inclusive[span_id].add(columns, hour.final)
    for start_ms in division.hours.keys() - valued.keys():
        for span_id in division.hours[start_ms].inclusive_uj.keys() & exclusive.keys():
            exclusive[span_id].final = inclusive[span_id].final = False
        rest.final = False
    return EmissionsDivision(
        {span_id: sums.emissions() for span_id, sums in exclusive.items()},
        {span_id: sums.emissions() for span_id, sums in inclusive.items()},
        rest.emissions(),
    )


# What is divided of an hour, in this order.
_ACTIVE, _IDLE, _MARKET_ACTIVE, _MARKET_IDLE, _EMBODIED, _LOW, _HIGH, _ENERGY, _METERED = range(9)


def _columns(hour: PodHour) -> list[int]:
    dynamic_ug, idle_ug, overhead_ug = hour.location_ug
    market_dynamic_ug, market_idle_ug, market_overhead_ug = hour.market_ug
    return [
        dynamic_ug + overhead_ug,
        idle_ug,
        market_dynamic_ug + market_overhead_ug,
        market_idle_ug,
        hour.embodied_ug,
        hour.low_ug,
        hour.high_ug,
        hour.energy_uj,
        hour.metered_uj,
    ]


@dataclass(slots=True)
class _Sums:
    """The columns of some hours, added up."""

    columns: list[int] = field(default_factory=lambda: [0] * 9)
    final: bool = True

    def add(self, columns: Sequence[int], final: bool) -> None:
        self.columns = [total + amount for total, amount in zip(self.columns, columns, strict=True)]
        self.final = self.final and final

    def emissions(self) -> SpanEmissions:
        its = self.columns
        return SpanEmissions(
            emissions_ug=its[_ACTIVE] + its[_IDLE],
            market_ug=its[_MARKET_ACTIVE] + its[_MARKET_IDLE],
            embodied_ug=its[_EMBODIED],
            low_ug=its[_LOW],
            high_ug=its[_HIGH],
            measured_permille=min(1000, its[_METERED] * 1000 // its[_ENERGY]) if its[_ENERGY] else 0,
            state="final" if self.final else "provisional",
        )


@dataclass(frozen=True, slots=True)
class _Weights:
    """Energy and time of an hour's spans by sorted id; the exclusive ones with the rest at the end."""

    energy: Sequence[int]
    time: Sequence[int]
    inclusive_energy: Sequence[int]
    inclusive_time: Sequence[int]
    energy_sum: int  # summed once: there may be as many spans in an hour as a pod posts
    time_sum: int


def _weights(hour: HourDivision) -> _Weights:
    """The weights of an hour. Where it has no energy, time stands in, and where it has no time, all is the rest's."""
    ids = sorted(hour.inclusive_uj)
    time = [*(hour.exclusive_ms[span_id] for span_id in ids), hour.rest_ms]
    energy = [*(hour.exclusive_uj[span_id] for span_id in ids), hour.rest_uj]
    inclusive_time = [hour.inclusive_ms[span_id] for span_id in ids]
    inclusive_energy = [hour.inclusive_uj[span_id] for span_id in ids]
    if not any(time):
        time, inclusive_time = energy, inclusive_energy
    if not any(energy):
        energy, inclusive_energy = time, inclusive_time
    if not any(energy):
        energy = time = [*[0] * len(ids), 1]
    return _Weights(energy, time, inclusive_energy, inclusive_time, sum(energy), sum(time))


def _exclusive_parts(hour: PodHour, weights: _Weights) -> list[list[int]]:
    """The columns of each span and of the rest."""
    columns = [share_list(amount, weights.energy) for amount in _columns(hour)]
    totals = _columns(hour)
    for column in (_IDLE, _MARKET_IDLE, _EMBODIED):
        columns[column] = share_list(totals[column], weights.time)
    # By the emissions themselves, so that no span's range leaves out its own figure.
    emissions = [active + idle for active, idle in zip(columns[_ACTIVE], columns[_IDLE], strict=True)]
    for column in (_LOW, _HIGH):
        columns[column] = share_list(totals[column], emissions if any(emissions) else weights.energy)
    return [list(parts) for parts in zip(*columns, strict=True)]


def _inclusive_part(hour: PodHour, weights: _Weights, index: int) -> list[int]:
    """The columns of one span's inclusive energy and time, rounded up: never below its exclusive ones."""
    totals = _columns(hour)
    energy, time = weights.inclusive_energy[index], weights.inclusive_time[index]
    columns = [-(-amount * energy // weights.energy_sum) for amount in totals]
    for column in (_IDLE, _MARKET_IDLE, _EMBODIED):
        columns[column] = -(-totals[column] * time // weights.time_sum)
    whole, own = totals[_ACTIVE] + totals[_IDLE], columns[_ACTIVE] + columns[_IDLE]
    if whole:
        columns[_LOW], columns[_HIGH] = totals[_LOW] * own // whole, -(-totals[_HIGH] * own // whole)
    return columns
