"""Reads what counters counted, by the labels that the pods had in the hour, and keeps it when an hour is sealed.

A count is of a pod's name. It is given to the labels of the pod of that namespace and name that has facts in the hour,
and to those alone under which it was longest, so that units of selections that share no pod add up to what was counted.
A count without a pod of facts belongs to no selection: there is no energy beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.kept_unit_table import kept_units
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unit_tables import pod_units, unit_counter, unit_hour

NO_LABELS = 0  # in place of a label set: a query's count of no pod
_KNOWN = ("counted", "absent")


class CounterHour(NamedTuple):
    """What is known of a counter's hour. `hour` is UTC seconds; `reason` is empty where it is known."""

    counter_id: int
    hour: int
    state: str
    asked_at: int
    reason: str

    @property
    def is_known(self) -> bool:
        """Whether it was counted, or Prometheus answered that there is no series."""
        return self.state in _KNOWN


class LabelledUnits(NamedTuple):
    """Units, in millionths, of the pods of a namespace that had one set of labels in an hour."""

    counter_id: int
    hour: int
    namespace: str
    label_set_id: int
    micro: int


class CountedDay(NamedTuple):
    """How much is known of a counter's day: it changes whenever one of its hours is asked for again."""

    hours: int
    known: int
    asked_at: int


def counter_ids(
    connection: sa.Connection, cluster: str, counters: Collection[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """Ids of those counters that are registered, by namespace and digest."""
    c, wanted, found = unit_counter.c, set(counters), dict[tuple[str, str], int]()
    for digests in chunks(sorted({digest for _, digest in wanted})):
        rows = connection.execute(
            sa.select(c.id, c.namespace, c.digest).where(c.cluster == cluster, c.digest.in_(digests))
        )
        found |= {(row.namespace, row.digest): row.id for row in rows if (row.namespace, row.digest) in wanted}
    return found


def counted_days(
    connection: sa.Connection, ids: Iterable[int], start: int, end: int
) -> dict[tuple[int, int], CountedDay]:
    """What is known of each counter's day (number since 1970) in [start, end)."""
    c, found = unit_hour.c, dict[tuple[int, int], CountedDay]()
    # Of whole numbers, which both databases divide without a remainder; a literal, as a bound value has no fixed type.
    day, known = c.hour.op("/")(sa.literal_column(str(24 * HOUR))), sa.case((c.state.in_(_KNOWN), 1), else_=0)
    for some in chunks(sorted(ids)):
        rows = connection.execute(
            sa.select(c.counter_id, day, sa.func.count(), sa.func.sum(known), sa.func.max(c.asked_at))
            .where(c.counter_id.in_(some), c.hour >= start, c.hour < end)
            .group_by(c.counter_id, day)
        )
        for counter_id, number, hours, its, asked_at in rows:
            found[(counter_id, int(number))] = CountedDay(hours, int(its), asked_at)
    return found


def counter_hours(connection: sa.Connection, ids: Iterable[int], start: int, end: int) -> Iterator[CounterHour]:
    """The hours of [start, end) that were asked for."""
    c = unit_hour.c
    for some in chunks(sorted(ids)):
        rows = connection.execute(
            sa.select(c.counter_id, c.hour, c.state, c.asked_at, c.reason).where(
                c.counter_id.in_(some), c.hour >= start, c.hour < end
            )
        )
        for row in rows:
            yield CounterHour(*row)


def sealed_at(connection: sa.Connection, cluster: str, start: int, end: int) -> dict[int, int]:
    """When each sealed hour of [start, end) was sealed."""
    c = schema.sealed_hour.c
    rows = connection.execute(sa.select(c.hour, c.sealed_at).where(c.cluster == cluster, c.hour >= start, c.hour < end))
    return {row.hour: row.sealed_at for row in rows}


def units_of_pods(
    connection: sa.Connection, cluster: str, ids: Iterable[int], start: int, end: int
) -> Iterator[LabelledUnits]:
    """Units of the hours of [start, end) whose pods are still stored."""
    unit, pod, fact, node = pod_units.c, schema.pod.c, schema.pod_fact.c, schema.node.c
    counter = sorted(ids)
    for some in chunks(counter):
        where = (unit.counter_id.in_(some), unit.hour >= start, unit.hour < end)
        longest: dict[tuple[int, int, str, str], tuple[int, Counter[int]]] = {}
        rows = connection.execute(
            sa.select(
                unit.counter_id, unit.hour, unit.namespace, unit.pod, unit.micro, pod.label_set_id, fact.duration_ms
            )
            .join(schema.pod, sa.and_(pod.namespace == unit.namespace, pod.name == unit.pod))
            .join(schema.node, sa.and_(node.id == pod.node_id, node.cluster == cluster))
            .join(
                schema.pod_fact, sa.and_(fact.pod_id == pod.id, fact.start >= unit.hour, fact.start < unit.hour + HOUR)
            )
            .where(*where)
        )
        for counter_id, hour, namespace, name, micro, label_set_id, duration_ms in rows:
            key = (counter_id, hour, namespace, name)
            found = longest.get(key)
            if found is None:
                found = longest[key] = (micro, Counter())
            found[1][label_set_id] += duration_ms
        for (counter_id, hour, namespace, _), (micro, durations) in longest.items():
            label_set_id = next(iter(durations)) if len(durations) == 1 else _longest(durations)
            yield LabelledUnits(counter_id, hour, namespace, label_set_id, micro)
        of_none = sa.select(unit.counter_id, unit.hour, unit.micro).where(*where, unit.namespace == "", unit.pod == "")
        for counter_id, hour, micro in connection.execute(of_none):
            yield LabelledUnits(counter_id, hour, "", NO_LABELS, micro)


def _longest(durations: Counter[int]) -> int:
    return max(durations, key=lambda label_set_id: (durations[label_set_id], label_set_id))


def units_of_sealed(connection: sa.Connection, ids: Iterable[int], start: int, end: int) -> Iterator[LabelledUnits]:
    """Units of the hours of [start, end) that were sealed after they were counted."""
    c = kept_units.c
    for some in chunks(sorted(ids)):
        rows = connection.execute(
            sa.select(c.counter_id, c.hour, c.namespace, c.label_set_id, c.micro).where(
                c.counter_id.in_(some), c.hour >= start, c.hour < end
            )
        )
        for row in rows:
            yield LabelledUnits(*row)


def units_to_keep(connection: sa.Connection, cluster: str, hour: int) -> list[LabelledUnits]:
    """The hour's units by label, one row for each set of labels, as they are stored when it is sealed."""
    ids: Sequence[int] = connection.scalars(sa.select(unit_counter.c.id).where(unit_counter.c.cluster == cluster)).all()
    sums: Counter[tuple[int, int, str, int]] = Counter()
    for one in units_of_pods(connection, cluster, ids, hour, hour + 1):
        sums[(one.counter_id, hour, one.namespace, one.label_set_id)] += one.micro
    return [LabelledUnits(*of, micro) for of, micro in sums.items()]


def keep_units(connection: sa.Connection, units: Iterable[LabelledUnits]) -> None:
    """Store them, in the transaction in which their hour is sealed."""
    for some in chunks(units):
        connection.execute(sa.insert(kept_units), [one._asdict() for one in some])
