"""Reads units that pods counted with the client library, by hour. They are kept as long as the results of spans.

An hour without such a count has none: 0 units. Before `server.spans.result_days` nothing is known any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.span_tables import tracked_pod, unit_count
from carbonbudget_operator.ledger.unit_days import HOUR, PodKey
from carbonbudget_operator.units.counting import MICRO
from carbonbudget_operator.units.spread_count import spread_count

MOST_COUNT: Final = 10**12  # a larger one is no count of an hour, and sums of it would not fit into a column
_HOUR_MS: Final = HOUR * 1000


def read_client_units(
    connection: sa.Connection, cluster: str, namespaces: Sequence[str] | None, name: str, start: int, end: int
) -> Mapping[int, Mapping[PodKey, int]]:
    """Millionths of the unit `name` by full hour of [start, end), then by namespace and pod.

    `namespaces` None: all of them. A count whose time crosses an hour is spread in proportion to time.
    """
    found: dict[int, dict[PodKey, int]] = defaultdict(lambda: defaultdict(int))
    for some in [None] if namespaces is None else chunks(sorted(namespaces)):
        _add(connection, cluster, some, name, (start, end), found)
    return {hour: dict(pods) for hour, pods in found.items()}


def _add(
    connection: sa.Connection, cluster: str, namespaces: Sequence[str] | None, name: str, span: tuple[int, int],
    into: dict[int, dict[PodKey, int]],
) -> None:  # fmt: skip
    unit, pod, (start, end) = unit_count.c, tracked_pod.c, span
    where = [
        pod.cluster == cluster, unit.pod_id == pod.id, unit.name == name, unit.count <= MOST_COUNT,
        unit.start_ms < end * 1000, sa.or_(unit.end_ms > start * 1000, unit.start_ms >= start * 1000),
    ]  # fmt: skip
    if namespaces is not None:
        where.append(pod.namespace.in_(namespaces))
    hour = (unit.start_ms // _HOUR_MS).label("hour")
    is_inside = sa.or_(unit.end_ms <= unit.start_ms, (unit.end_ms - 1) // _HOUR_MS == hour)
    # Most counts are of minutes: the database adds them up.
    sums = (
        sa.select(pod.namespace, pod.name, hour, sa.func.sum(unit.count))
        .where(*where, is_inside)
        .group_by(pod.namespace, pod.name, hour)
    )
    for namespace, name_, hours, count in connection.execute(sums):
        if start <= hours * HOUR < end:
            into[hours * HOUR][namespace, name_] += int(count) * MICRO
    others = sa.select(pod.namespace, pod.name, unit.count, unit.start_ms, unit.end_ms).where(*where, ~is_inside)
    for row in connection.execute(others):
        for at, micro in spread_count(row[2] * MICRO, row.start_ms, row.end_ms, start, end):
            into[at][row[0], row[1]] += micro
