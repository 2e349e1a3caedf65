"""Predicts energy and emissions of the steps that are left, hour by hour, from the last steps that are done. Pure.

Energy is the mean of the last steps times the steps that are left, as Carbontracker predicts from its epochs
(https://arxiv.org/abs/2007.03051). It adds a range: as if each step left were the cheapest or the dearest of the last
ones, at the lowest or the highest intensity that the forecast gives. One step alone says nothing about the next ones,
so its range is half to twice its energy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.carbon.emissions_formula import emissions_ug
from carbonbudget_operator.spans.pod_windows import HOUR_MS

LAST_STEPS: Final = 5
# Hours that are listed one by one; what comes later is one more, at the mean intensity.
_MOST_HOURS: Final = 31 * 24


@dataclass(frozen=True, slots=True)
class DoneStep:
    """`steps` steps that are over: [start_ms, end_ms) in UTC milliseconds, and their energy in microjoules."""

    start_ms: int
    end_ms: int
    energy_uj: int
    steps: int = 1


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
    """What the steps that are left are expected to need; the sums of `hours`."""

    energy_uj: int
    low_uj: int
    high_uj: int
    emissions_ug: int
    low_ug: int
    high_ug: int
    ends_at_ms: int
    hours: tuple[PredictedHour, ...]

    def within(self, begins_at_ms: int, start_ms: int, end_ms: int) -> PredictedHour:
        """What is expected in [start_ms, end_ms), each hour spread evenly, as one `PredictedHour` from `start_ms`.

        `begins_at_ms` is the `now_ms` that this was predicted at.
        """
        found = [0] * 6
        ends = [*(hour.start_ms for hour in self.hours[1:]), self.ends_at_ms]
        for hour, stop in zip(self.hours, ends, strict=False):
            begin = max(hour.start_ms, begins_at_ms)
            inside = min(stop, end_ms) - max(begin, start_ms)
            if inside <= 0:
                continue
            figures = (hour.energy_uj, hour.low_uj, hour.high_uj, hour.emissions_ug, hour.low_ug, hour.high_ug)
            for number, figure in enumerate(figures):
                found[number] += figure * inside // (stop - begin)
        return PredictedHour(start_ms, *found)


def predict(
    steps: Sequence[DoneStep],
    steps_left: int,
    now_ms: int,
    forecast: Sequence[ForecastHour],
    pue_permille: int = 1000,
    last: int = LAST_STEPS,
    measured_ms: int | None = None,
) -> Prediction | None:
    """The energy and emissions of `steps_left` more steps that begin now; None without a step done or a forecast.

    The last `last` entries of `steps` count, by their end. Energy is spread evenly over the expected time: the time
    from the start of the first of these steps to the end of the last one, for as many steps. An hour without a forecast
    has the mean of the forecast hours, and their lowest and highest figure as its range. More steps left never give
    less. If `measured_ms` is before now, the prediction begins there, and the time until now has the energy of as much
    time of the steps: what was done in it is not left any more, and is not measured yet.
    """
    counted = sorted(steps, key=lambda step: (step.end_ms, step.start_ms, step.energy_uj))[-last:]
    if not counted or not forecast or steps_left < 0 or last < 1:
        return None
    count = sum(step.steps for step in counted)
    elapsed_ms = max(1, counted[-1].end_ms - min(step.start_ms for step in counted))
    sum_uj = sum(step.energy_uj for step in counted)
    # All three are energies of `count` steps, so that one rule spreads them.
    totals_uj = (sum_uj, *_range(counted, count))
    known = {hour.start_ms: hour for hour in forecast}
    usual = _usual(forecast)
    hours: list[PredictedHour] = []
    spent, spent_uj = 0, [0, 0, 0]
    begin_ms = now_ms if measured_ms is None else min(now_ms, measured_ms)
    # In parts of a millisecond: `count` of them are one.
    end = steps_left * elapsed_ms + (now_ms - begin_ms) * count
    while spent < end:
        start_ms = (begin_ms + spent // count) // HOUR_MS * HOUR_MS
        later = len(hours) >= _MOST_HOURS
        until = end if later else min(end, (start_ms + HOUR_MS - begin_ms) * count)
        reached_uj = [total_uj * until // (count * elapsed_ms) for total_uj in totals_uj]
        energy_uj, low_uj, high_uj = (now - before for now, before in zip(reached_uj, spent_uj, strict=True))
        low_uj, high_uj = min(low_uj, energy_uj), max(high_uj, energy_uj)  # rounding
        intensity = usual if later else known.get(start_ms, usual)
        hours.append(
            PredictedHour(
                start_ms,
                energy_uj,
                low_uj,
                high_uj,
                emissions_ug(energy_uj, pue_permille, intensity.mg_per_kwh),
                emissions_ug(low_uj, pue_permille, min(intensity.low_mg_per_kwh, intensity.mg_per_kwh)),
                emissions_ug(high_uj, pue_permille, max(intensity.high_mg_per_kwh, intensity.mg_per_kwh)),
            )
        )
        spent, spent_uj = until, reached_uj
    return _sum(hours, begin_ms - (-end // count))


def _range(steps: Sequence[DoneStep], count: int) -> tuple[int, int]:
    """The energy of `count` steps in microjoules, as if each were the cheapest and the dearest of these."""
    if len(steps) == 1:
        return steps[0].energy_uj // 2, steps[0].energy_uj * 2
    return (
        min(step.energy_uj * count // step.steps for step in steps),
        max(-(-step.energy_uj * count // step.steps) for step in steps),
    )


def _usual(forecast: Sequence[ForecastHour]) -> ForecastHour:
    """What stands in for an hour that the forecast does not have."""
    return ForecastHour(
        0,
        sum(hour.mg_per_kwh for hour in forecast) // len(forecast),
        min(hour.low_mg_per_kwh for hour in forecast),
        max(hour.high_mg_per_kwh for hour in forecast),
    )


def _sum(hours: Iterable[PredictedHour], ends_at_ms: int) -> Prediction:
    listed = tuple(hours)
    return Prediction(
        sum(hour.energy_uj for hour in listed),
        sum(hour.low_uj for hour in listed),
        sum(hour.high_uj for hour in listed),
        sum(hour.emissions_ug for hour in listed),
        sum(hour.low_ug for hour in listed),
        sum(hour.high_ug for hour in listed),
        ends_at_ms,
        listed,
    )
