"""Stores which nodes should report, and computes what share of their time was reported.

The cluster's own list says which nodes there are; a node that only ever reported (imported windows, a server
without the right to list) is expected from its first report to its last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import BulkInsert, chunks
from carbonbudget_operator.ledger.fact_reader import SILENT_SECONDS
from carbonbudget_operator.ledger.facts import CPU
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unreadable_rows import valid_in_database
from carbonbudget_operator.ledger.write_locks import write_transaction

# A new node's first minutes are not a gap: its agent's image is being pulled.
_GRACE_SECONDS = 180
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class ExpectedNodeTime:
    """A node's time: [start, end) UTC seconds; `end` is None while it is still listed."""

    name: str
    start: int
    end: int | None
    silent: bool  # it has never reported


def store_listed(engine: sa.Engine, cluster: str, listed: Mapping[str, str], now: int) -> None:
    """Store a complete list of the nodes that should report: names and uids."""
    table = schema.node_listed
    with write_transaction(engine) as connection:
        rows = BulkInsert(
            connection.dialect, table, ("cluster", "name", "uid", "since", "until"), ("cluster", "name", "uid"),
            {"until": "max"},
        )  # fmt: skip
        rows.put(connection, ((cluster, name, uid, now, now) for name, uid in sorted(listed.items())))


def store_counts(engine: sa.Engine, cluster: str, counts: Mapping[str, int], now: int) -> None:
    """Store how many nodes of each kind a complete list had: of a day the most at once, and when it was last listed.

    The kind is what the nodes are on which no agent runs; empty for those that should report.
    """
    table, day = schema.node_count, now - now % _DAY
    with write_transaction(engine) as connection:
        rows = BulkInsert(
            connection.dialect, table, ("cluster", "day", "kind", "nodes", "until"), ("cluster", "day", "kind"),
            {"nodes": "max", "until": "max"},
        )  # fmt: skip
        rows.put(connection, ((cluster, day, kind, nodes, now) for kind, nodes in sorted(counts.items())))


def forget_listed(engine: sa.Engine, cluster: str, uids: Iterable[str]) -> None:
    """Expect nothing of nodes that were listed as such by mistake, unless one of that name has ever reported."""
    listed, node = schema.node_listed.c, schema.node.c
    with write_transaction(engine) as connection:
        for some in chunks(sorted(uids)):
            connection.execute(
                sa.delete(schema.node_listed).where(
                    listed.cluster == cluster,
                    listed.uid.in_(some),
                    listed.name.not_in(sa.select(node.name).where(node.cluster == cluster)),
                )
            )


def without_agent(connection: sa.Connection, cluster: str, start: int, end: int) -> dict[str, int]:
    """Nodes on which no agent runs, by what they are: the most that there were at once on any day of [start, end)."""
    c = schema.node_count.c
    rows = connection.execute(
        sa.select(c.kind, sa.func.max(c.nodes))
        .where(c.cluster == cluster, c.day > start - _DAY, c.day < end, c.kind != "", c.nodes > 0)
        .group_by(c.kind)
        .order_by(c.kind)
    )
    return {kind: int(nodes) for kind, nodes in rows}


def expectation_version(connection: sa.Connection, cluster: str) -> tuple[int, int, int]:
    """What changes when the list of nodes gives other expectations, while no node reports: listed, newest, present."""
    listed, counted = schema.node_listed.c, schema.node_count.c
    last_list = connection.scalar(sa.select(sa.func.max(counted.until)).where(counted.cluster == cluster)) or 0
    latest = connection.scalar(sa.select(sa.func.max(listed.until)).where(listed.cluster == cluster)) or 0
    found = connection.execute(
        sa.select(
            sa.func.count(), sa.func.max(listed.since),
            sa.func.count().filter(listed.until >= max(latest, last_list)),
        ).where(listed.cluster == cluster)
    ).one()  # fmt: skip
    return found[0], found[1] or 0, found[2]


def expectations(connection: sa.Connection, cluster: str) -> list[ExpectedNodeTime]:
    """Every stretch of time in which a node should have reported."""
    node, span, listed = schema.node.c, schema.node_span.c, schema.node_listed.c
    spans = {
        row.name: (row.first_start, row.last_end)
        for row in connection.execute(
            sa.select(node.name, span.first_start, span.last_end)
            .join(schema.node, node.id == span.node_id)
            .where(node.cluster == cluster)
        )
    }
    rows = connection.execute(
        sa.select(listed.name, listed.since, listed.until)
        .where(listed.cluster == cluster)
        .order_by(listed.name, listed.since)
    ).all()
    counted = schema.node_count.c  # a list without any node that should report is one too
    last_list = connection.scalar(sa.select(sa.func.max(counted.until)).where(counted.cluster == cluster))
    latest = max((row.until for row in rows), default=0)
    latest = max(latest, last_list or 0)
    found: list[ExpectedNodeTime] = []
    seen: set[str] = set()
    for row in rows:
        start = row.since + _GRACE_SECONDS
        first = spans.get(row.name)
        if first is not None and row.name not in seen:  # it reported before it was first listed, or within the grace
            start = min(start, first[0])
        seen.add(row.name)
        found.append(ExpectedNodeTime(row.name, start, None if row.until >= latest else row.until, first is None))
    found += [ExpectedNodeTime(name, *span, silent=False) for name, span in sorted(spans.items()) if name not in seen]
    return found


def covered_by_hour(dialect: sa.Dialect, *where: sa.ColumnElement[bool]) -> sa.Subquery:
    """`node_id` and `ms` of each node and hour: milliseconds that have all of the node's energy, an hour at most.

    As `NodeSlice.covered_ms`: of the domain that was reported shortest, and no row without the CPU's. `where` is about
    `node_fact`. A node's clock may count a little more time than there is.
    """
    c = schema.node_fact.c
    hour = (c.start - c.start % HOUR).label("hour")
    of_domain = (
        sa.select(c.node_id, hour, c.domain, sa.func.sum(c.duration_ms).label("ms"))
        .where(*where, valid_in_database(dialect, c.duration_ms, 2**40))
        .group_by(c.node_id, hour, c.domain)
        .subquery()
    )
    shortest, whole = sa.func.min(of_domain.c.ms), HOUR * 1000
    has_cpu = sa.func.sum(sa.case((of_domain.c.domain == CPU, 1), else_=0)) > 0
    return (
        sa.select(of_domain.c.node_id, sa.case((shortest > whole, whole), else_=shortest).label("ms"))
        .group_by(of_domain.c.node_id, of_domain.c.hour)
        .having(has_cpu)
        .subquery()
    )


def reported_ms(connection: sa.Connection, cluster: str, start: int, end: int) -> dict[str, int]:
    """Milliseconds of the whole hours [start, end) that have all of a node's energy, by its name; sealed hours too."""
    fact, node = schema.node_fact.c, schema.node.c
    hours = covered_by_hour(connection.dialect, fact.start >= start, fact.start < end)
    rows = connection.execute(
        sa.select(node.name, sa.func.sum(hours.c.ms))
        .join(schema.node, node.id == hours.c.node_id)
        .where(node.cluster == cluster)
        .group_by(node.name)
    )
    return {name: int(ms) for name, ms in rows}


def silent_nodes(connection: sa.Connection, cluster: str, at: int) -> list[frozenset[str]]:
    """Whose pods each node had that was listed at the UTC second `at` and fell silent before.

    A node that ended within the last five minutes before `at` is not silent. One that never reported is not known to
    have had pods.
    """
    listed, node, span, pod = schema.node_listed.c, schema.node.c, schema.node_span.c, schema.pod.c
    there = sa.select(listed.name).where(
        listed.cluster == cluster, listed.since + _GRACE_SECONDS <= at, listed.until >= at
    )
    pods = (schema.pod, sa.and_(pod.node_id == node.id, pod.last_hour >= span.last_end - HOUR))
    rows = connection.execute(
        sa.select(node.id, pod.namespace)
        .join(schema.node_span, span.node_id == node.id)
        .outerjoin(*pods)
        .where(node.cluster == cluster, span.last_end < at - SILENT_SECONDS, node.name.in_(there))
        .distinct()
    )
    found: dict[int, set[str]] = {}
    for node_id, namespace in rows:
        found.setdefault(node_id, set()).update([namespace] if namespace is not None else [])
    return [frozenset(names) for names in found.values()]


def listed_from(connection: sa.Connection, cluster: str) -> int | None:
    """The UTC second of the first list of the cluster's nodes; None where the ledger has no list."""
    listed, counted = schema.node_listed.c, schema.node_count.c
    firsts = (
        connection.scalar(sa.select(sa.func.min(listed.since)).where(listed.cluster == cluster)),
        connection.scalar(sa.select(sa.func.min(counted.day)).where(counted.cluster == cluster)),
    )
    return min((int(first) for first in firsts if first is not None), default=None)


def expected_ms(expected: Iterable[ExpectedNodeTime], start: int, end: int) -> int:
    """Milliseconds of node-time of [start, end) in which there should be reports."""
    return sum(
        max(0, min(end, end if item.end is None else item.end) - max(start, item.start)) * 1000 for item in expected
    )
