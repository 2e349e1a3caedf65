"""Predicts energy and emissions of the steps that are left, hour by hour, from the last steps that are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoneStep:
    """A step that is over: [start_ms, end_ms) in UTC milliseconds, and its energy in microjoules."""

    start_ms: int
    end_ms: int
    energy_uj: int


@dataclass(frozen=True, slots=True)
class ForecastHour:
    """The expected intensity of the hour from `start_ms` in mgCO2e per kWh, with its range."""

    start_ms: int
    mg_per_kwh: int
    low_mg_per_kwh: int
    high_mg_per_kwh: int


@dataclass(frozen=True, slots=True)
class PredictedHour:
    """What is expected in the hour from `start_ms`; energy in microjoules, emissions in micrograms of CO2e."""

    start_ms: int
    energy_uj: int
    low_uj: int
    high_uj: int
    emissions_ug: int
    low_ug: int
    high_ug: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the steps that are left are expected to need; the sums of `hours`. Add what is used so far: `plus`."""

    energy_uj: int
    low_uj: int
    high_uj: int
    emissions_ug: int
    low_ug: int
    high_ug: int
    ends_at_ms: int
    hours: tuple[PredictedHour, ...]


def predict(
    steps: Sequence[DoneStep], steps_left: int, now_ms: int, forecast: Sequence[ForecastHour], pue_permille: int = 1000
) -> Prediction | None:
    """The energy and emissions of `steps_left` more steps that begin now; None without a step done or a forecast."""
    raise NotImplementedError
