"""Reads units that pods counted themselves (`carbonbudget.units`), hour by hour and by the pods' labels.

They are stored by pod and hour when they are posted (`span_store.py`). So what reading costs depends on the number of
pods and hours, and not on how much a pod posts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import MOST_ADDED, chunks
from carbonbudget_operator.ledger.labelled_units import (
    NOT_KNOWN_THERE,
    LabelledUnits,
    label_durations,
    longest_label,
)
from carbonbudget_operator.ledger.span_tables import posted_unit_hour, tracked_pod
from carbonbudget_operator.ledger.time_slices import HOUR

_DAY = 24 * HOUR


def posted_revisions(
    connection: sa.Connection, cluster: str, name: str, namespaces: Collection[str] | None, start: int, end: int
) -> Mapping[tuple[str, int], int]:
    """How many counts are in each namespace's units of that name by day (number since 1970) of [start, end).

    It grows whenever one is posted: a day's units are as they were while it stays the same.
    """
    day = posted_unit_hour.c.hour // _DAY
    of = (tracked_pod.c.namespace, day)
    query = sa.select(*of, sa.func.sum(posted_unit_hour.c.counts))
    rows = connection.execute(_of_pods(query, cluster, name, namespaces, start, end).group_by(*of))
    return {(namespace, int(number)): int(counts) for namespace, number, counts in rows}


def posted_units(
    connection: sa.Connection, cluster: str, name: str, namespaces: Collection[str] | None, start: int, end: int
) -> Iterator[LabelledUnits]:
    """Units of that name in the hours of [start, end), of pods with facts in them; None: in all namespaces.

    An hour in which a pod posted a count that cannot be is not known in its namespace.
    """
    hour = posted_unit_hour.c
    query = sa.select(tracked_pod.c.uid, tracked_pod.c.namespace, hour.hour, hour.micro)
    rows = connection.execute(_of_pods(query, cluster, name, namespaces, start, end)).all()
    durations = label_durations(connection, _pods(connection, {row.uid: row.namespace for row in rows}), start, end)
    for uid, namespace, at, micro in rows:
        its = durations.get((uid, at))
        if its and micro >= MOST_ADDED:
            yield LabelledUnits(0, at, namespace, NOT_KNOWN_THERE, 0)
        elif its:
            yield LabelledUnits(0, at, namespace, longest_label(its), micro)


def _of_pods(
    query: sa.Select[Any], cluster: str, name: str, namespaces: Collection[str] | None, start: int, end: int
) -> sa.Select[Any]:
    pod, hour = tracked_pod.c, posted_unit_hour.c
    query = query.select_from(tracked_pod.join(posted_unit_hour, pod.id == hour.pod_id)).where(
        pod.cluster == cluster, hour.name == name, hour.hour >= start, hour.hour < end,
        # A count ends a minute after its post at the latest, and who posts is active. It leaves out most former pods.
        pod.active_at >= start - HOUR,
    )  # fmt: skip
    return query if namespaces is None else query.where(pod.namespace.in_(namespaces))


def _pods(connection: sa.Connection, namespace_of: Mapping[str, str]) -> dict[int, tuple[str, str, int]]:
    """The pods of these uids as `label_durations` takes them."""
    pod, found = schema.pod.c, dict[int, tuple[str, str, int]]()
    for some in chunks(sorted(namespace_of)):
        for row in connection.execute(sa.select(pod.id, pod.uid, pod.label_set_id).where(pod.uid.in_(some))):
            found[row.id] = (row.uid, namespace_of[row.uid], row.label_set_id)
    return found
