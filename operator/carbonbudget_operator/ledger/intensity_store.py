"""Stores hourly intensities as their sources published them. They are figures of others, never facts of the ledger.

A figure that changes is written beside the earlier one, and the hours of facts that it touches get a new
revision, so that what was valued with the earlier one is valued again. Sealed hours do not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import BulkInsert
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction

Series = dict[int, tuple[int, bool]]  # mg/kWh and whether it is an estimate, by hour


@dataclass(frozen=True, slots=True)
class SourcePoll:
    """A source's state for a zone: when it was last queried, when it last answered, and its error."""

    source: str
    zone: str
    polled_at: int
    good_at: int
    error: str


def load_intensities(connection: sa.Connection, basis: str, start: int, end: int) -> dict[tuple[str, str], Series]:
    """The present figures of the hours of [start, end), by source and zone."""
    c = schema.grid_hour.c
    rows = connection.execute(
        sa.select(c.source, c.zone, c.hour, c.mg_per_kwh, c.estimated)
        .where(c.basis == basis, c.hour >= start - start % HOUR, c.hour < end)
        .order_by(c.seen_at)
    )
    found: dict[tuple[str, str], Series] = {}
    for source, zone, hour, mg_per_kwh, estimated in rows:
        found.setdefault((source, zone), {})[hour] = (mg_per_kwh, bool(estimated))
    return found


def store_intensities(
    engine: sa.Engine, source: str, zone: str, basis: str, series: Mapping[int, tuple[int, bool]], now: int, reach: int
) -> int:
    """Store new and changed figures; returns the number of their hours. Up to `reach` hours after one lean on it."""
    with write_transaction(engine, AdvisoryLock.BOOKINGS) as connection:
        known = load_intensities(connection, basis, min(series, default=0), max(series, default=0) + 1).get(
            (source, zone), {}
        )
        changed = {hour: figure for hour, figure in series.items() if known.get(hour) != figure}
        if changed:
            columns = ("source", "zone", "basis", "hour", "seen_at", "mg_per_kwh", "estimated")
            rows = BulkInsert(
                connection.dialect, schema.grid_hour, columns, columns[:5], dict.fromkeys(columns[5:], "set")
            )
            rows.put(connection, ((source, zone, basis, hour, now, *changed[hour]) for hour in sorted(changed)))
            c = schema.hour_revision.c
            connection.execute(
                sa.update(schema.hour_revision)
                .where(c.hour >= min(changed), c.hour <= max(changed) + reach * HOUR)
                .where(c.hour.not_in(sa.select(schema.sealed_hour.c.hour)))
                .values(revision=c.revision + 1)
            )
        polls = schema.grid_poll.c
        connection.execute(
            sa.update(schema.grid_poll).where(polls.source == source, polls.zone == zone).values(good_at=now, error="")
        )
        return len(changed)


def claim_poll(
    engine: sa.Engine, source: str, zone: str, now: int, interval: int, table: sa.Table = schema.grid_poll
) -> bool:
    """Whether it is this server's turn to ask: at most one of all gets it in an interval. `table`: of what is asked."""
    with engine.connect() as connection:  # mostly it is not: nothing is written then
        polled_at = connection.scalar(
            sa.select(table.c.polled_at).where(table.c.source == source, table.c.zone == zone)
        )
    if polled_at is not None and polled_at > now - interval:
        return False
    with write_transaction(engine) as connection:
        BulkInsert(connection.dialect, table, ("source", "zone"), ("source", "zone")).put(connection, [(source, zone)])
        done = connection.execute(
            sa.update(table)
            .where(table.c.source == source, table.c.zone == zone, table.c.polled_at <= now - interval)
            .values(polled_at=now)
        )
        return done.rowcount == 1


def fail_poll(engine: sa.Engine, source: str, zone: str, error: str) -> None:
    """Store the source's error message."""
    c = schema.grid_poll.c
    with write_transaction(engine) as connection:
        connection.execute(
            sa.update(schema.grid_poll).where(c.source == source, c.zone == zone).values(error=error[:500])
        )


def polls(connection: sa.Connection) -> dict[tuple[str, str], SourcePoll]:
    """Every source's state by source and zone."""
    rows = connection.execute(sa.select(schema.grid_poll))
    return {(row.source, row.zone): SourcePoll(*row) for row in rows}
