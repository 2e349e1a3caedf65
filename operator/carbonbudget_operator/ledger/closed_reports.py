"""Stores closed reports: a closed report never changes, and a reopened one stays on record."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema


@dataclass(frozen=True, slots=True)
class ClosedReport:
    """A report's text as it was closed, its SHA-256, and when that was (UTC seconds)."""

    period: str
    closed_at: int
    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class ReopenedReport:
    """A closure that was undone: what was closed, when it was undone (UTC seconds), and why."""

    closed: ClosedReport
    reopened_at: int
    reason: str


class AlreadyClosed(Exception):
    """A period is closed once."""


def find_closed(connection: sa.Connection, cluster: str, period: str) -> ClosedReport | None:
    """The closed report of a period."""
    c = schema.closed_report.c
    row = connection.execute(
        sa.select(c.period, c.closed_at, c.digest, c.report).where(c.cluster == cluster, c.period == period)
    ).first()
    return None if row is None else ClosedReport(*row)


def list_closed(connection: sa.Connection, cluster: str) -> list[tuple[str, int, str]]:
    """Period, time of closing (UTC seconds) and SHA-256 of every closed report, by period; without their texts."""
    c = schema.closed_report.c
    rows = connection.execute(
        sa.select(c.period, c.closed_at, c.digest).where(c.cluster == cluster).order_by(c.period)
    )  # fmt: skip
    return [(str(period), int(closed_at), str(digest)) for period, closed_at, digest in rows]


def close_report(connection: sa.Connection, cluster: str, closed: ClosedReport) -> None:
    """Store the closed report. Raises AlreadyClosed."""
    try:
        connection.execute(sa.insert(schema.closed_report).values(cluster=cluster, **_columns(closed)))
    except sa.exc.IntegrityError:
        raise AlreadyClosed(closed.period) from None


def reopen_report(connection: sa.Connection, cluster: str, period: str, now: int, reason: str) -> ClosedReport | None:
    """Undo a closure and record that. Returns the closed report, or None if there was none."""
    closed = find_closed(connection, cluster, period)
    if closed is None:
        return None
    c = schema.closed_report.c
    connection.execute(sa.delete(schema.closed_report).where(c.cluster == cluster, c.period == period))
    connection.execute(
        sa.insert(schema.reopened_report).values(
            cluster=cluster, reopened_at=now, reason=reason, **_columns(closed)
        )
    )  # fmt: skip
    return closed


def list_reopened(connection: sa.Connection, cluster: str) -> list[tuple[str, int, str, int, str]]:
    """Period, time of closing, SHA-256, time of reopening and reason of every closure that was undone, without texts.

    By period, of each the oldest first.
    """
    c = schema.reopened_report.c
    rows = connection.execute(
        sa.select(c.period, c.closed_at, c.digest, c.reopened_at, c.reason)
        .where(c.cluster == cluster)
        .order_by(c.period, c.id)
    )
    return [(str(period), int(at), str(digest), int(since), str(why)) for period, at, digest, since, why in rows]


def find_reopened(connection: sa.Connection, cluster: str, period: str) -> list[ReopenedReport]:
    """Earlier closures of a period, the oldest first."""
    c = schema.reopened_report.c
    rows = connection.execute(
        sa.select(c.period, c.closed_at, c.digest, c.report, c.reopened_at, c.reason)
        .where(c.cluster == cluster, c.period == period)
        .order_by(c.id)
    )
    return [ReopenedReport(ClosedReport(*row[:4]), *row[4:]) for row in rows]


def _columns(closed: ClosedReport) -> dict[str, object]:
    return {
        "period": closed.period, "closed_at": closed.closed_at, "digest": closed.digest, "report": closed.text,
    }  # fmt: skip
