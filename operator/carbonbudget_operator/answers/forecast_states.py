"""How the forecasts of sources are doing: until when the newest reaches, whether it is used, and how far they were off.

They are compared with what the same source published for the hour later, without its estimates: an estimate may be the
forecast itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.answers.window_parser import DAY
from carbonbudget_operator.intensity_settings import has_forecast
from carbonbudget_operator.ledger.forecast_store import (
    COMPARED_SECONDS,
    compared_hours,
    forecast_polls,
    load_forecasts,
)
from carbonbudget_operator.ledger.intensity_store import load_intensities
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

AHEAD_SECONDS: Final = DAY  # what is known an hour before says little about tomorrow


@dataclass(frozen=True, slots=True)
class ForecastState:
    """A source's forecast of a zone. Times are UTC seconds, 0 for none.

    `mean_error_mg`: the mean distance in mgCO2e/kWh of what was expected a day before from what was published, over
    `compared_hours` of the last week; None without such an hour. `error`: why the latest question gave none.
    """

    source: str
    zone: str
    fetched_at: int
    until: int
    is_used: bool
    error: str
    compared_hours: int
    mean_error_mg: int | None


def forecast_states(reader: ValuedReader, zones: Collection[str], now: int) -> list[ForecastState]:
    """The forecast states of the sources in force, in order of source and zone."""
    carbon = reader.terms.at(now).carbon
    names = {given.name for given in carbon.intensity.sources if has_forecast(given)}
    if not names:
        return []
    oldest = now - carbon.intensity.max_forecast_age_hours * HOUR
    with snapshot(reader.engine) as connection:
        polls = forecast_polls(connection)
        newest = load_forecasts(connection, carbon.basis, zones, -(-now // HOUR) * HOUR)
        expected = compared_hours(connection, carbon.basis, zones, now, AHEAD_SECONDS)
        published = load_intensities(connection, carbon.basis, now - COMPARED_SECONDS, now)
    found = []
    for source, zone in sorted(key for key in polls if key[0] in names and key[1] in zones):
        its, poll = newest.get((source, zone)), polls[source, zone]
        came = published.get((source, zone), {})
        errors = [
            abs(mg - came[hour][0])
            for hour, mg in expected.get((source, zone), {}).items()
            if hour in came and not came[hour][1]
        ]
        found.append(
            ForecastState(
                source, zone, poll.good_at, 0 if its is None else its.end,
                its is not None and its.fetched_at >= oldest, poll.error,
                len(errors), sum(errors) // len(errors) if errors else None,
            )
        )  # fmt: skip
    return found
