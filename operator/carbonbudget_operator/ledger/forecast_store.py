"""Stores what sources expect of the grid's intensity: the newest forecast of each hour to come.

Nothing is valued by it, so no hour of facts gets a new revision. Of an hour that has begun the last and the first
forecast stay for some days, so that they can be compared with what came.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger.bulk_rows import BulkInsert
from carbonbudget_operator.ledger.forecast_tables import grid_forecast, grid_forecast_poll
from carbonbudget_operator.ledger.intensity_store import SourcePoll
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.write_locks import write_transaction

COMPARED_SECONDS: Final = 7 * 24 * HOUR
_KEPT_SECONDS: Final = COMPARED_SECONDS + 24 * HOUR
_KEYS: Final = ("source", "zone", "basis", "hour")
_NEWEST: Final = ("mg_per_kwh", "fetched_at")
_FIRST: Final = ("first_mg_per_kwh", "first_fetched_at")

SourceZone = tuple[str, str]


@dataclass(frozen=True, slots=True)
class StoredForecast:
    """A source's newest forecast of a zone: mgCO2e/kWh by full hour, and the UTC second at which it was fetched."""

    fetched_at: int
    mg_per_kwh: Mapping[int, int]

    @property
    def end(self) -> int:
        """The end of its last hour."""
        return max(self.mg_per_kwh) + HOUR


def store_forecast(
    engine: sa.Engine, source: str, zone: str, basis: str, hours: Mapping[int, int], start: int, now: int
) -> None:
    """Replace the forecast of the hours from the UTC second `start` on: it ends where the new one ends."""
    c, polls = grid_forecast.c, grid_forecast_poll.c
    its = sa.and_(c.source == source, c.zone == zone, c.basis == basis)
    with write_transaction(engine) as connection:
        connection.execute(sa.delete(grid_forecast).where(c.hour < now - _KEPT_SECONDS))
        connection.execute(sa.delete(grid_forecast).where(its, c.hour >= start, c.hour.not_in(sorted(hours))))
        rows = BulkInsert(
            connection.dialect, grid_forecast, (*_KEYS, *_NEWEST, *_FIRST), _KEYS, dict.fromkeys(_NEWEST, "set")
        )
        rows.put(connection, ((source, zone, basis, hour, mg, now, mg, now) for hour, mg in sorted(hours.items())))
        connection.execute(
            sa.update(grid_forecast_poll)
            .where(polls.source == source, polls.zone == zone)
            .values(good_at=now, error="")
        )


def load_forecasts(
    connection: sa.Connection, basis: str, zones: Collection[str], start: int
) -> dict[SourceZone, StoredForecast]:
    """The newest forecasts of the hours from the UTC second `start` on, by source and zone; of one basis only."""
    c = grid_forecast.c
    rows = connection.execute(
        sa.select(c.source, c.zone, c.hour, c.mg_per_kwh, c.fetched_at).where(
            c.basis == basis, c.zone.in_(sorted(zones)), c.hour >= start
        )
    )
    fetched: dict[SourceZone, int] = {}
    hours: dict[SourceZone, dict[int, int]] = {}
    for source, zone, hour, mg_per_kwh, fetched_at in rows:
        hours.setdefault((source, zone), {})[hour] = mg_per_kwh
        fetched[source, zone] = max(fetched_at, fetched.get((source, zone), 0))
    return {key: StoredForecast(fetched[key], its) for key, its in hours.items()}


def compared_hours(
    connection: sa.Connection, basis: str, zones: Collection[str], now: int, ahead_s: int
) -> dict[SourceZone, dict[int, int]]:
    """What was first expected of hours of the last week, by source and zone, at least `ahead_s` before they began."""
    c = grid_forecast.c
    rows = connection.execute(
        sa.select(c.source, c.zone, c.hour, c.first_mg_per_kwh).where(
            c.basis == basis, c.zone.in_(sorted(zones)), c.hour >= now - COMPARED_SECONDS, c.hour < now - now % HOUR,
            c.first_fetched_at <= c.hour - ahead_s,
        )
    )  # fmt: skip
    found: dict[SourceZone, dict[int, int]] = {}
    for source, zone, hour, mg_per_kwh in rows:
        found.setdefault((source, zone), {})[hour] = mg_per_kwh
    return found


def fail_forecast(engine: sa.Engine, source: str, zone: str, error: str, polled_at: int) -> None:
    """Store why there is no forecast. `polled_at`: from when the next question's pause counts."""
    c = grid_forecast_poll.c
    with write_transaction(engine) as connection:
        connection.execute(
            sa.update(grid_forecast_poll)
            .where(c.source == source, c.zone == zone)
            .values(error=error[:500], polled_at=polled_at)
        )


def forecast_polls(connection: sa.Connection) -> dict[SourceZone, SourcePoll]:
    """Every source's state of its forecasts, by source and zone."""
    rows = connection.execute(sa.select(grid_forecast_poll))
    return {(row.source, row.zone): SourcePoll(*row) for row in rows}
