"""Closed reports: what was said once is kept as it was said."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema


@dataclass(frozen=True, slots=True)
class Closed:
    """A report's text as it was closed, its SHA-256, and when that was."""

    period: str
    closed_at: int
    digest: str
    text: str


class AlreadyClosed(Exception):
    """A period is closed once."""


def find_closed(connection: sa.Connection, cluster: str, period: str) -> Closed | None:
    """The closed report of a period."""
    c = schema.closed_report.c
    row = connection.execute(
        sa.select(c.period, c.closed_at, c.digest, c.report).where(c.cluster == cluster, c.period == period)
    ).first()
    return None if row is None else Closed(*row)


def close(connection: sa.Connection, cluster: str, closed: Closed) -> None:
    """Keep it. Raises AlreadyClosed."""
    try:
        connection.execute(
            sa.insert(schema.closed_report).values(
                cluster=cluster, period=closed.period, closed_at=closed.closed_at, digest=closed.digest,
                report=closed.text,
            )
        )  # fmt: skip
    except sa.exc.IntegrityError:
        raise AlreadyClosed(closed.period) from None
