"""Reads what counters counted, by the labels that the pods had in the hour, and keeps it when an hour is sealed.

A count is of a pod's name. It is given to the labels of the pod of that namespace and name that has facts in the hour,
and to those alone under which it was longest, so that units of selections that share no pod add up to what was counted.
A count without a pod of facts belongs to no selection: there is no energy beside it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.kept_unit_table import kept_units
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unit_days import DAY
from carbonbudget_operator.ledger.unit_store import CounterHours, read_counters
from carbonbudget_operator.ledger.unit_tables import unit_counter, unit_day, unit_failure

MOST_MICRO = 2**63 - 1  # what a column holds; an hour with so many units is not known
NO_LABELS = 0  # in place of a label set: a query's count of no pod
_KNOWN = ("counted", "absent")
_NAMED = 500  # pods that one statement names


class LabelledUnits(NamedTuple):
    """Units, in millionths, of the pods of a namespace that had one set of labels in an hour."""

    counter_id: int
    hour: int
    namespace: str
    label_set_id: int
    micro: int


class CountedDay(NamedTuple):
    """What is stored of a counter's day: it changes whenever one of its hours is known, or was asked for in vain."""

    states: str
    failures: int
    asked_at: int


class StoredCounterId(NamedTuple):
    """A registered counter. Its hours before `missing_before` that are not known are given up."""

    id: int
    missing_before: int


def counter_ids(
    connection: sa.Connection, cluster: str, counters: Collection[tuple[str, str]]
) -> dict[tuple[str, str], StoredCounterId]:
    """Those counters that are registered, by namespace and digest."""
    c, wanted, found = unit_counter.c, set(counters), dict[tuple[str, str], StoredCounterId]()
    for digests in chunks(sorted({digest for _, digest in wanted})):
        rows = connection.execute(
            sa.select(c.id, c.missing_before, c.namespace, c.digest).where(c.cluster == cluster, c.digest.in_(digests))
        )
        found |= {
            (row.namespace, row.digest): StoredCounterId(row.id, row.missing_before)
            for row in rows
            if (row.namespace, row.digest) in wanted
        }
    return found


def counted_days(
    connection: sa.Connection, ids: Iterable[int], start: int, end: int
) -> dict[tuple[int, int], CountedDay]:
    """What is stored of each counter's day (number since 1970) in [start, end), whole days."""
    c, failure, wanted = unit_day.c, unit_failure.c, sorted(ids)
    states: dict[tuple[int, int], str] = {}
    failures: dict[tuple[int, int], tuple[int, int]] = {}
    for some in chunks(wanted):
        query = sa.select(c.counter_id, c.day, c.states).where(c.counter_id.in_(some), c.day >= start, c.day < end)
        states |= {(row.counter_id, row.day // DAY): row.states for row in connection.execute(query)}
        within = (failure.counter_id.in_(some), failure.hour >= start, failure.hour < end)
        for counter_id, hour, asked_at in connection.execute(
            sa.select(failure.counter_id, failure.hour, failure.asked_at).where(*within)
        ):
            key = (counter_id, hour // DAY)
            number, latest = failures.get(key, (0, 0))
            failures[key] = (number + 1, max(latest, asked_at))
    return {key: CountedDay(states.get(key, ""), *failures.get(key, (0, 0))) for key in states.keys() | failures.keys()}


def is_known(state: str | None) -> bool:
    """Whether an hour was counted, or Prometheus answered that there is no series."""
    return state in _KNOWN


def sealed_at(connection: sa.Connection, cluster: str, start: int, end: int) -> frozenset[int]:
    """The sealed hours of [start, end)."""
    c = schema.sealed_hour.c
    return frozenset(connection.scalars(sa.select(c.hour).where(c.cluster == cluster, c.hour >= start, c.hour < end)))


def units_of_pods(
    connection: sa.Connection, cluster: str, counted: Mapping[int, CounterHours], start: int, end: int
) -> Iterator[LabelledUnits]:
    """Units of the hours of [start, end) whose pods are still stored, of what is `counted` by counter id."""
    durations = _durations(connection, cluster, counted.values(), start, end)
    for counter_id, hours in counted.items():
        for hour, pods in hours.units.items():
            for (namespace, name), micro in pods.items():
                if not start <= hour < end:
                    continue
                if not namespace and not name:
                    yield LabelledUnits(counter_id, hour, "", NO_LABELS, micro)
                elif its := durations.get((namespace, name, hour)):
                    label_set_id = max(its, key=lambda key: (its[key], key)) if len(its) > 1 else next(iter(its))
                    yield LabelledUnits(counter_id, hour, namespace, label_set_id, micro)


def _durations(
    connection: sa.Connection, cluster: str, counted: Iterable[CounterHours], start: int, end: int
) -> dict[tuple[str, str, int], Counter[int]]:
    """How long each counted pod had each set of labels, by namespace, name and hour."""
    namespaces: dict[str, set[str]] = defaultdict(set)  # by the pod's name
    for hours in counted:
        for pods in hours.units.values():
            for namespace, name in pods:
                namespaces[name].add(namespace)
    pod, fact, node = schema.pod.c, schema.pod_fact.c, schema.node.c
    found: dict[tuple[str, str, int], Counter[int]] = {}
    query = (
        sa.select(pod.namespace, pod.name, pod.label_set_id, fact.start, fact.duration_ms)
        .join(schema.node, sa.and_(node.id == pod.node_id, node.cluster == cluster))
        .join(schema.pod_fact, fact.pod_id == pod.id)
        .where(fact.start >= start, fact.start < end)
    )
    if len(namespaces) <= _NAMED:  # with more, all pods of the span are read once
        query = query.where(pod.name.in_(sorted(namespaces)))
    for namespace, name, label_set_id, at, duration_ms in connection.execute(query):
        if namespace in namespaces.get(name, ()):
            found.setdefault((namespace, name, at - at % HOUR), Counter())[label_set_id] += duration_ms
    return found


def units_of_sealed(connection: sa.Connection, ids: Iterable[int], start: int, end: int) -> Iterator[LabelledUnits]:
    """What was known of the hours of [start, end) when they were sealed. Each such hour has at least one row."""
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
    """The hour's units by label, one row for each set of labels, as they are stored when it is sealed.

    A counter whose hour is known has a row of no labels too: it tells that the hour was known then.
    """
    ids: Sequence[int] = connection.scalars(sa.select(unit_counter.c.id).where(unit_counter.c.cluster == cluster)).all()
    readings = read_counters(connection, dict.fromkeys(ids, 0), hour, hour + HOUR)
    counted = {counter_id: hours for counter_id, hours in readings.items() if is_known(hours.states.get(hour))}
    sums = Counter({(counter_id, hour, "", NO_LABELS): 0 for counter_id in counted})
    for one in units_of_pods(connection, cluster, counted, hour, hour + HOUR):
        sums[(one.counter_id, hour, one.namespace, one.label_set_id)] += one.micro
    return [LabelledUnits(*of, min(micro, MOST_MICRO)) for of, micro in sums.items()]


def keep_units(connection: sa.Connection, units: Iterable[LabelledUnits]) -> None:
    """Store them, in the transaction in which their hour is sealed."""
    for some in chunks(units):
        connection.execute(sa.insert(kept_units), [one._asdict() for one in some])
