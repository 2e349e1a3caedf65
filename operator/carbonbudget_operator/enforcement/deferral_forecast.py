"""What controller and `carbonbudget when` know when they choose a start: the grid's hours and the rates of new work.

No I/O and no clock. Emissions are location-based and without embodied ones, which no start changes. They are those of
the requests at the rates of the last day, or of former runs of the last two weeks, moved from the mean intensity of
that time to the intensity of the hours in which the work would run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_operator.api.grid_bodies import IntensityRow
from carbonbudget_operator.api.projection_bodies import ProjectionAnswer
from carbonbudget_operator.budgets.expected_emissions import (
    ExpectedEmissions,
    FormerRunMean,
    NoExpectation,
    WorkloadPlan,
    expect_emissions,
)
from carbonbudget_operator.budgets.workload_demand import EmissionRates
from carbonbudget_operator.cleaner_hours.intensity_hours import IntensityFigure, IntensityTimeline, intensity_hours
from carbonbudget_operator.enforcement.job_fields import instant

DAY: Final = 86_400
RATE_SECONDS: Final = DAY  # what the server's rates are the mean of (answers/projection_table.py)
FORMER_SECONDS: Final = 14 * DAY
FORECAST_SECONDS: Final = 7 * DAY
_NO_END: Final = 10**11  # no period ends here


@dataclass(frozen=True, slots=True)
class DeferralForecast:
    """`made_at`: when the server was asked (UTC seconds). Without rates starts can be compared, without grams."""

    hours: IntensityTimeline
    made_at: int
    rates: Mapping[str, EmissionRates] = field(default_factory=dict)
    runs: Mapping[tuple[str, str], FormerRunMean] = field(default_factory=dict)

    def former(self, namespace: str, workload: str) -> FormerRunMean | None:
        """The mean of the former runs of KIND/NAME."""
        return self.runs.get((namespace, workload))

    def base(
        self, namespace: str, workload: str, instance_type: str, plan: WorkloadPlan
    ) -> tuple[ExpectedEmissions | NoExpectation, int | None]:
        """What the work would emit at a steady intensity, or why that is not known; and that intensity (mg per kWh)."""
        former = self.former(namespace, workload)
        rates = self.rates.get(instance_type) or self.rates.get("")
        if former is None and not self.rates:
            return NoExpectation.NO_TABLE, None
        found = expect_emissions(plan, former, rates, _NO_END)
        of_former = isinstance(found, ExpectedEmissions) and found.former
        span_s = FORMER_SECONDS if of_former else RATE_SECONDS
        return found, self.hours.mean_mg(self.made_at - span_s, self.made_at)


def forecast_of(
    rows: Iterable[IntensityRow],
    projection: ProjectionAnswer | None,
    made_at: int,
    namespaces: Collection[str],
) -> DeferralForecast | None:
    """From the server's answers, with the former runs of these namespaces; None where no hour from now on is known."""
    hours = intensity_hours(figures_of(rows), made_at)
    if hours.mean_mg(made_at, max(hours.end, made_at + 1)) is None:
        return None
    if projection is None:
        return DeferralForecast(hours, made_at)
    rates = {
        rate.instance_type: EmissionRates(rate.core_hour_location_ug, rate.gpu_hour_location_ug)
        for rate in projection.rates
    }
    runs = {
        (run.namespace, run.workload): FormerRunMean(run.pod_location_ug, run.pod_seconds)
        for run in projection.runs
        if run.namespace in namespaces
    }
    return DeferralForecast(hours, made_at, rates, runs)


def figures_of(rows: Iterable[IntensityRow]) -> Iterator[IntensityFigure]:
    """What valued the past hours, and the forecast of those to come."""
    for row in rows:
        if row.applied or row.kind == "forecast":
            mg = row.mg_per_kwh
            low = mg if row.low_mg_per_kwh is None else row.low_mg_per_kwh
            high = mg if row.high_mg_per_kwh is None else row.high_mg_per_kwh
            yield IntensityFigure(instant(row.start), row.zone, mg, low, high, row.kind == "forecast")
