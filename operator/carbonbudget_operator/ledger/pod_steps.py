"""Reads the steps of a pod, its spans of one name, for predictions."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger import span_tables
from carbonbudget_operator.ledger.span_store import StoredSpan, stored_span

MOST_LOOKED_AT: Final = 50_000  # of a pod's spans, the newest


def first_step_ms(connection: sa.Connection, pod_id: int, name: str) -> int | None:
    """When the steps of this name began that the pod does now, UTC milliseconds; None without a span of it.

    Of the pod's newest spans, at most `MOST_LOOKED_AT`.

    A pod may do its steps several times, such as two trainings in a notebook. They begin with the latest step that has
    the lowest number. A training that is resumed inside the pod goes on with a higher one. Without numbers they begin
    with the first step.
    """
    c = _newest(pod_id).c
    its = (c.name == name,)
    lowest, first_ms = connection.execute(sa.select(sa.func.min(c.step), sa.func.min(c.start_ms)).where(*its)).one()
    if lowest is not None and lowest >= 0:  # else there is none, or one without a number
        first_ms = connection.scalar(sa.select(sa.func.max(c.start_ms)).where(*its, c.step == lowest))
    return None if first_ms is None else int(first_ms)


def read_steps(
    connection: sa.Connection, pod_id: int, name: str, start_ms: int, until_ms: int, most: int
) -> list[StoredSpan]:
    """The pod's newest spans of this name inside [start_ms, until_ms], at most so many."""
    c = _newest(pod_id).c
    where = (c.name == name, c.start_ms >= start_ms, c.end_ms <= until_ms)
    rows = connection.execute(sa.select(*c).where(*where).order_by(c.number.desc()).limit(most))
    return [stored_span(row) for row in rows]


def _newest(pod_id: int) -> sa.Subquery:
    """The spans that are looked at: what a pod posts must not decide how long answers about budgets take."""
    table = span_tables.span
    newest = sa.select(table).where(table.c.pod_id == pod_id).order_by(table.c.number.desc()).limit(MOST_LOOKED_AT)
    return newest.subquery()
