"""The intensity of past and of coming hours that predictions go by: remembered by zones, since all pods share it.

It is made anew with each hour, when a figure or a forecast in the ledger changed or one is too old now, and after a
minute at the latest: where no source has an hour, it goes by the nodes, whose changes are not looked for.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.grid_intensity import grid_intensity
from carbonbudget_operator.answers.source_forecasts import SourceForecasts
from carbonbudget_operator.carbon.basis_split import DIRECT, LIFECYCLE
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.forecast_tables import grid_forecast
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.spans.intensity_profile import profile_forecast
from carbonbudget_operator.spans.step_prediction import ForecastHour
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_PROFILE_SECONDS: Final = 14 * 24 * HOUR
_HOURS_AHEAD: Final = 7 * 24
_REUSED_SECONDS: Final = 60
_MOST_ZONES: Final = 64  # some 100 KB each
_BASES: Final = (DIRECT, LIFECYCLE)


@dataclass(frozen=True, slots=True)
class ExpectedHours:
    """`past`: mgCO2e/kWh by the start of the hour in UTC milliseconds. `coming`: the hours from this one on."""

    past: Mapping[int, int]
    coming: Sequence[ForecastHour]


class ExpectedIntensity:
    """Threads share it: two may make the same figures, and either's are kept."""

    def __init__(self, reader: ValuedReader) -> None:
        self._reader = reader
        self._known: dict[tuple[str, ...], tuple[int, Hashable, ExpectedHours]] = {}

    def of(self, zones: Sequence[str], now: int) -> ExpectedHours:
        """The hours of these zones, of several their mean where it is a forecast."""
        key, version = tuple(zones), self._version(zones, now)
        made_at, made_of, found = self._known.get(key, (0, None, None))
        if found is not None and made_of == version and 0 <= now - made_at < _REUSED_SECONDS:
            return found
        found = self._made(zones, now)
        if key not in self._known and len(self._known) >= _MOST_ZONES:
            self._known = {}
        self._known[key] = (now, version, found)
        return found

    def _made(self, zones: Sequence[str], now: int) -> ExpectedHours:
        figures = grid_intensity(self._reader, zones, (now - _PROFILE_SECONDS, now), now)
        past = {row.start * 1000: row.mg_per_kwh for row in figures if row.applied}
        coming = SourceForecasts(self._reader, zones, now)
        return ExpectedHours(
            past,
            [
                hour
                if (mg := coming.mean(zones, hour.start_ms // 1000)) is None
                else ForecastHour(hour.start_ms, mg, mg, mg)
                for hour in profile_forecast(past, now * 1000, _HOURS_AHEAD)
            ],
        )

    def _version(self, zones: Sequence[str], now: int) -> Hashable:
        """What differs whenever the hours of the zones may: the hour, what the ledger has, which forecasts are fresh.

        A changed figure is a row more. One that is changed twice in a second, or a forecast that is fetched again, has
        other sums.
        """
        begun, terms = -(-now // HOUR) * HOUR, self._reader.terms
        since = now - now % HOUR - _PROFILE_SECONDS
        given = [its.carbon.intensity for its in terms.within(since, now + _HOURS_AHEAD * HOUR)]
        sources = sorted({source.name for its in given for source in its.sources})
        if not sources:
            return now // HOUR, begun
        since -= max(its.max_age_hours for its in given) * HOUR
        oldest = now - terms.at(now).carbon.intensity.max_forecast_age_hours * HOUR
        with snapshot(self._reader.engine) as connection:
            c = schema.grid_hour.c
            past = connection.execute(
                sa.select(sa.func.count(), sa.func.max(c.seen_at), sa.func.sum(c.mg_per_kwh)).where(
                    c.source.in_(sources), c.zone.in_(zones), c.basis.in_(_BASES), c.hour >= since, c.hour < begun
                )
            ).one()
            c = grid_forecast.c
            coming = connection.execute(
                sa.select(
                    c.source, c.zone, c.basis, sa.func.count(), sa.func.max(c.fetched_at), sa.func.sum(c.mg_per_kwh)
                )
                .where(c.source.in_(sources), c.zone.in_(zones), c.basis.in_(_BASES), c.hour >= begun)
                .group_by(c.source, c.zone, c.basis)
                .order_by(c.source, c.zone, c.basis)
            ).all()
        return now // HOUR, begun, tuple(past), tuple((*row, row[4] >= oldest) for row in coming)
