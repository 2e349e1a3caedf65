"""Reads units that pods counted themselves (`carbonbudget.units`), hour by hour and by the pods' labels.

A count is of a span of time. It is spread over the hours of the span pro rata in time, so that the parts add up to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.labelled_units import NOT_KNOWN_THERE, LabelledUnits
from carbonbudget_operator.ledger.span_tables import tracked_pod, unit_count
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.units.counting import MICRO
from carbonbudget_operator.units.spread_count import spread_count

_MOST_COUNT: Final = 10**12  # a larger one is no count of work


def posted_units(
    connection: sa.Connection, cluster: str, name: str, namespaces: Collection[str] | None, start: int, end: int
) -> Iterator[LabelledUnits]:
    """Units of that name in the hours of [start, end), of pods with facts in them; None: in all namespaces.

    An hour in which a pod posted a count that cannot be is not known in its namespace.
    """
    c, tracked = unit_count.c, tracked_pod.c
    query = (
        sa.select(tracked.uid, tracked.namespace, c.count, c.start_ms, c.end_ms)
        .join(tracked_pod, tracked.id == c.pod_id)
        .where(
            tracked.cluster == cluster,
            c.name == name,
            c.start_ms < end * 1000,
            c.end_ms >= start * 1000,
        )
    )
    if namespaces is not None:
        query = query.where(tracked.namespace.in_(namespaces))
    of_pod: dict[tuple[str, str], Counter[int]] = {}
    impossible: set[tuple[str, int]] = set()
    for uid, namespace, count, start_ms, end_ms in connection.execute(query):
        hours = of_pod.setdefault((uid, namespace), Counter())
        for hour, micro in spread_count(count * MICRO, start_ms, end_ms, start, end):
            hours[hour] += micro
            if count > _MOST_COUNT:
                impossible.add((uid, hour))
    labels = _labels(connection, {uid for uid, _ in of_pod}, start, end)
    for (uid, namespace), hours in of_pod.items():
        for hour, micro in hours.items():
            durations = labels.get((uid, hour))
            if durations and (uid, hour) in impossible:
                yield LabelledUnits(0, hour, namespace, NOT_KNOWN_THERE, 0)
            elif durations:
                longest = max(durations, key=lambda key: (durations[key], key))
                yield LabelledUnits(0, hour, namespace, longest, micro)


def _labels(
    connection: sa.Connection, uids: Collection[str], start: int, end: int
) -> dict[tuple[str, int], Counter[int]]:
    """How long each pod had each set of labels in each hour."""
    pod, fact = schema.pod.c, schema.pod_fact.c
    found: dict[tuple[str, int], Counter[int]] = {}
    for some in chunks(sorted(uids)):
        rows = connection.execute(
            sa.select(pod.uid, pod.label_set_id, fact.start, fact.duration_ms)
            .join(schema.pod_fact, fact.pod_id == pod.id)
            .where(pod.uid.in_(some), fact.start >= start, fact.start < end)
        )
        for uid, label_set_id, at, duration_ms in rows:
            found.setdefault((uid, at - at % HOUR), Counter())[label_set_id] += duration_ms
    return found
