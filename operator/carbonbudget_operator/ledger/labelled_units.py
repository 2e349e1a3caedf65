"""Reads what counters counted, by the labels that the pods had in the hour, and keeps it when an hour is sealed.

A count is of a pod's name. It is given to the labels of the pod of that namespace and name that has facts in the hour,
and to those alone under which it was longest, so that units of selections that share no pod add up to what was counted.
A count without a pod of facts belongs to no selection: there is no energy beside it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import orjson
import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.cuts import load_cuts
from carbonbudget_operator.ledger.kept_unit_table import kept_units
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unit_days import ABSENT, DAY, NOT_KNOWN, UNKNOWN
from carbonbudget_operator.ledger.unit_tables import unit_counter, unit_day, unit_failure

MOST_MICRO: Final = 2**63 - 1  # what a column holds; an hour with so many units is not known
NO_LABELS: Final = 0  # in place of a label set: a query's count of no pod
NOT_KNOWN_THERE: Final = -2  # in place of a label set: the hour is not known in that namespace
KNOWN_WHEN_SEALED: Final = -1  # in place of a label set: the hour was counted, and no pod of facts counted anything
_COUNTERS_AT_ONCE: Final = 500
_STARTS_AT_ONCE: Final = 100
_Name = TypeVar("_Name")


class RegisteredCounter(NamedTuple):
    """A counter's id; its hours before `missing_before` that are not known are given up."""

    id: int
    missing_before: int


class LabelledUnits(NamedTuple):
    """Units, in millionths, of the pods of a namespace that had one set of labels in an hour."""

    counter_id: int
    hour: int
    namespace: str
    label_set_id: int
    micro: int


class PodNames:
    """The pods of some namespaces that may have facts from an hour on, by namespace and name: ids and label sets."""

    def __init__(self, connection: sa.Connection, cluster: str, namespaces: Collection[str], since: int) -> None:
        pod, node = schema.pod.c, schema.node.c
        self._pods: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for some in chunks(sorted(namespaces)):
            rows = connection.execute(
                sa.select(pod.namespace, pod.name, pod.id, pod.label_set_id)
                .join(schema.node, node.id == pod.node_id)
                .where(node.cluster == cluster, pod.namespace.in_(some), pod.last_hour >= since)
            )
            for namespace, name, pod_id, label_set_id in rows:
                self._pods[(namespace, name)].append((pod_id, label_set_id))

    def labels(
        self, connection: sa.Connection, names: Iterable[tuple[str, str]], start: int, end: int
    ) -> dict[tuple[str, str, int], int]:
        """By namespace, name and hour: the label set under which the pod was longest. No facts: not there."""
        of_pod = {pod_id: (name, name[0], key) for name in names for pod_id, key in self._pods.get(name, ())}
        durations = label_durations(connection, of_pod, start, end)
        return {(*name, hour): longest_label(its) for (name, hour), its in durations.items()}


def label_durations(
    connection: sa.Connection, pods: Mapping[int, tuple[_Name, str, int]], start: int, end: int
) -> dict[tuple[_Name, int], Counter[int]]:
    """How long pods had each set of labels in each hour of [start, end), by their name and the hour.

    `pods`: by id in the ledger, each with a name, its namespace and its set of labels. Those that have no facts in an
    hour are not there.
    """
    fact, cuts, found = schema.pod_fact.c, load_cuts(connection, start, end), dict[tuple[_Name, int], Counter[int]]()
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)  # by their own cuts: others' cost them nothing
    for pod_id, (_, namespace, _) in pods.items():
        alike[tuple(cuts.of(namespace))].append(pod_id)
    for own, ids in alike.items():
        starts = sorted({*range(start, end, HOUR), *(at for at in own if start <= at < end)})
        for at_once in chunks(starts, _STARTS_AT_ONCE):  # each a look-up by the key, however many other pods there are
            for some in chunks(sorted(ids)):
                rows = connection.execute(
                    sa.select(fact.start, fact.pod_id, fact.duration_ms).where(
                        fact.start.in_(at_once), fact.pod_id.in_(some)
                    )
                )
                for at, pod_id, duration_ms in rows:
                    name, _, label_set_id = pods[pod_id]
                    found.setdefault((name, at - at % HOUR), Counter())[label_set_id] += duration_ms
    return found


def longest_label(durations: Mapping[int, int]) -> int:
    """The set of labels that a pod had longest; of several the last one."""
    return max(durations, key=lambda key: (durations[key], key))


def pod_namespaces(connection: sa.Connection, cluster: str) -> set[str]:
    """The cluster's namespaces that have pods. Other clusters in the same ledger have namespaces of their own."""
    pod, node = schema.pod, schema.node
    query = sa.select(pod.c.namespace).join(node, node.c.id == pod.c.node_id).where(node.c.cluster == cluster)
    return set(connection.scalars(query.distinct()))


def registered_counters(
    connection: sa.Connection, cluster: str, counters: Collection[tuple[str, str]]
) -> dict[tuple[str, str], RegisteredCounter]:
    """The given counters that are registered, by namespace and digest."""
    c, wanted, found = unit_counter.c, set(counters), dict[tuple[str, str], RegisteredCounter]()
    for digests in chunks(sorted({digest for _, digest in wanted})):
        rows = connection.execute(
            sa.select(c.id, c.namespace, c.digest, c.missing_before).where(c.cluster == cluster, c.digest.in_(digests))
        )
        for row in rows:
            if (row.namespace, row.digest) in wanted:
                found[(row.namespace, row.digest)] = RegisteredCounter(row.id, row.missing_before)
    return found


def counted_days(connection: sa.Connection, ids: Iterable[int], start: int, end: int) -> dict[tuple[int, int], str]:
    """The letters of the hours of each counter's days, by counter and the start of the day, of [start, end)."""
    c, found = unit_day.c, dict[tuple[int, int], str]()
    for some in chunks(sorted(ids), _COUNTERS_AT_ONCE):
        rows = connection.execute(
            sa.select(c.counter_id, c.day, c.states).where(c.counter_id.in_(some), c.day >= start, c.day < end)
        )
        found |= {(counter_id, day): states for counter_id, day, states in rows}
    return found


def failed_hours(
    connection: sa.Connection, ids: Iterable[int], start: int, end: int
) -> dict[tuple[int, int], dict[int, str]]:
    """Why hours of [start, end) were asked for in vain: by counter and the start of the day, by the hour's number."""
    c, found = unit_failure.c, dict[tuple[int, int], dict[int, str]]()
    for some in chunks(sorted(ids), _COUNTERS_AT_ONCE):
        rows = connection.execute(
            sa.select(c.counter_id, c.hour, c.reason).where(
                c.counter_id.in_(some), c.hour >= start, c.hour < end
            ).order_by(c.counter_id, c.hour)
        )  # fmt: skip
        for counter_id, hour, reason in rows:
            found.setdefault((counter_id, hour - hour % DAY), {})[hour % DAY // HOUR] = reason
    return found


def sealed_hours_of(connection: sa.Connection, cluster: str, start: int, end: int) -> frozenset[int]:
    """The sealed hours of [start, end)."""
    c = schema.sealed_hour.c
    return frozenset(
        connection.scalars(sa.select(c.hour).where(c.cluster == cluster, c.hour >= start, c.hour < end))
    )  # fmt: skip


def units_of_pods(
    connection: sa.Connection, pods: PodNames, ids: Iterable[int], day: int, hours: Collection[int]
) -> Iterator[LabelledUnits]:
    """Units of these hours of a day (its start), whose pods are still stored."""
    c, counted = unit_day.c, list[tuple[int, str, str, Sequence[int]]]()
    for some in chunks(sorted(ids), _COUNTERS_AT_ONCE):
        rows = connection.execute(sa.select(c.counter_id, c.pods).where(c.counter_id.in_(some), c.day == day))
        counted += [
            (counter_id, namespace, name, counts)
            for counter_id, text in rows
            for namespace, name, counts in orjson.loads(text)
        ]
    wanted = set(hours)
    names = {(namespace, name) for _, namespace, name, _ in counted}
    labels: Mapping[tuple[str, str, int], int] = {}
    if wanted and names:
        labels = pods.labels(connection, names, min(wanted), max(wanted) + HOUR)
    for counter_id, namespace, name, counts in counted:
        for index, micro in zip(counts[::2], counts[1::2], strict=True):
            hour = day + index * HOUR
            if hour not in wanted:
                continue
            if micro == NOT_KNOWN:
                yield LabelledUnits(counter_id, hour, namespace, NOT_KNOWN_THERE, 0)
            elif not namespace and not name:
                yield LabelledUnits(counter_id, hour, "", NO_LABELS, micro)
            elif (label_set_id := labels.get((namespace, name, hour))) is not None:
                yield LabelledUnits(counter_id, hour, namespace, label_set_id, micro)


def units_of_sealed(connection: sa.Connection, ids: Iterable[int], start: int, end: int) -> Iterator[LabelledUnits]:
    """Units of the hours of [start, end) that were sealed after they were counted; at least one row for each."""
    c = kept_units.c
    for some in chunks(sorted(ids), _COUNTERS_AT_ONCE):
        rows = connection.execute(
            sa.select(c.counter_id, c.hour, c.namespace, c.label_set_id, c.micro).where(
                c.counter_id.in_(some), c.hour >= start, c.hour < end
            )
        )
        for row in rows:
            yield LabelledUnits(*row)


def units_to_keep(connection: sa.Connection, cluster: str, hour: int) -> list[LabelledUnits]:
    """The hour's units by label, one row for each set of labels, as they are stored when it is sealed."""
    c, day = unit_counter.c, hour - hour % DAY
    rows = connection.execute(sa.select(c.id, c.namespace).where(c.cluster == cluster)).all()
    index = hour % DAY // HOUR
    letters = counted_days(connection, [row.id for row in rows], day, day + 1)
    ids = {key[0] for key, states in letters.items() if states[index] not in (UNKNOWN, ABSENT)}
    if not ids:
        return []
    # A query over the cluster may count pods of any namespace.
    names = {row.namespace for row in rows if row.id in ids}
    if "" in names:
        names = pod_namespaces(connection, cluster)
    sums: Counter[tuple[int, int, str, int]] = Counter()
    for one in units_of_pods(connection, PodNames(connection, cluster, names, hour), ids, day, {hour}):
        sums[(one.counter_id, hour, one.namespace, one.label_set_id)] += one.micro
    for counter_id in ids - {key[0] for key in sums}:
        sums[(counter_id, hour, "", KNOWN_WHEN_SEALED)] = 0
    return [LabelledUnits(*of, min(micro, MOST_MICRO)) for of, micro in sums.items()]


def keep_units(connection: sa.Connection, units: Iterable[LabelledUnits]) -> None:
    """Store them, in the transaction in which their hour is sealed."""
    for some in chunks(units):
        connection.execute(sa.insert(kept_units), [one._asdict() for one in some])
