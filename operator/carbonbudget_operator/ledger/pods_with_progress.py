"""Reads which pods tell their progress now, and how far they are."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from carbonbudget_operator.ledger import span_tables
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.span_store import ProgressPoint
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.tracked_pods import SLOT


def read_telling(
    connection: sa.Connection, cluster: str, namespaces: Collection[str], now: int, run: str = ""
) -> dict[str, ProgressPoint]:
    """The newest progress by uid of the pods of these namespaces with windows in the half hour before `now`.

    `run`: those with that label alone. Nothing but tracked pods that are there now is looked at.
    """
    pod, point, window = span_tables.tracked_pod.c, span_tables.progress_point.c, span_tables.pod_window.c
    # A slot holds a quarter of an hour and is stored by its start; reports come a minute or two late.
    is_here = sa.exists().where(window.start > now - 2 * SLOT, window.start <= now + HOUR, window.pod_id == pod.id)
    found: dict[str, ProgressPoint] = {}
    for some in chunks(sorted(namespaces)):
        newest = (
            sa.select(point.pod_id, sa.func.max(point.at_ms).label("at_ms"))
            .join(span_tables.tracked_pod, pod.id == point.pod_id)
            .where(pod.cluster == cluster, pod.namespace.in_(some), pod.active_at > now - HOUR, is_here)
            .where(*((pod.run == run,) if run else ()))
            .group_by(point.pod_id)
            .subquery()
        )
        query = (
            sa.select(pod.uid, point.unit, point.done, point.total, point.at_ms)
            .join(newest, pod.id == newest.c.pod_id)
            .join(span_tables.progress_point, sa.and_(point.pod_id == newest.c.pod_id, point.at_ms == newest.c.at_ms))
            .order_by(pod.uid, point.unit, point.done)
        )
        found |= {uid: ProgressPoint(*rest) for uid, *rest in connection.execute(query)}
    return found
