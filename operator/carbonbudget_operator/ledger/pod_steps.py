"""Reads the steps of a pod, its spans of one name, for predictions."""

from __future__ import annotations

import sqlalchemy as sa

from carbonbudget_operator.ledger import span_tables
from carbonbudget_operator.ledger.span_store import StoredSpan, stored_span


def first_step_ms(connection: sa.Connection, pod_id: int, name: str) -> int | None:
    """When the steps of this name began that the pod does now, UTC milliseconds; None without a span of it.

    A pod may do its steps several times, such as two trainings in a notebook. They begin with the latest step that has
    the lowest number. A training that is resumed inside the pod goes on with a higher one. Without numbers they begin
    with the first step.
    """
    c = span_tables.span.c
    its = (c.pod_id == pod_id, c.name == name)
    lowest, first_ms = connection.execute(sa.select(sa.func.min(c.step), sa.func.min(c.start_ms)).where(*its)).one()
    if lowest is not None and lowest >= 0:  # else there is none, or one without a number
        first_ms = connection.scalar(sa.select(sa.func.max(c.start_ms)).where(*its, c.step == lowest))
    return None if first_ms is None else int(first_ms)


def read_steps(
    connection: sa.Connection, pod_id: int, name: str, start_ms: int, until_ms: int, most: int
) -> list[StoredSpan]:
    """The pod's newest spans of this name inside [start_ms, until_ms], at most so many."""
    c = span_tables.span.c
    where = (c.pod_id == pod_id, c.name == name, c.start_ms >= start_ms, c.end_ms <= until_ms)
    rows = connection.execute(sa.select(span_tables.span).where(*where).order_by(c.number.desc()).limit(most))
    return [stored_span(row) for row in rows]
