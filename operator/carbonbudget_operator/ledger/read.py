"""Reading facts: node slices of a span of time, and how far the record reaches."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.book import load_cuts
from carbonbudget_operator.ledger.facts import DomainFacts, NodeFacts, NodeSlice, PodFacts
from carbonbudget_operator.ledger.slices import HOUR, slice_end

# A node silent for this long no longer holds back `data_through`; its missing time shows as coverage.
_SILENT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class NodeSpan:
    """From when to when a node has reported."""

    node_id: int
    first_start: int
    last_end: int


def read_hour(connection: sa.Connection, cluster: str, hour: int) -> list[NodeSlice]:
    """All node slices of one hour."""
    cuts = [at for at in load_cuts(connection) if hour < at < hour + HOUR]
    nodes = _nodes(connection, cluster)
    last_ends = {span.node_id: span.last_end for span in node_spans(connection, cluster)}
    domains = _domains(connection, hour)
    pods = _pods(connection, hour)
    return [
        NodeSlice(
            node=nodes[node_id],
            start=start,
            # A slice that is still open reaches as far as its node has reported.
            end=max(start + 1, min(slice_end(start, cuts), last_ends[node_id])),
            domains=facts,
            pods=tuple(sorted(pods.get((node_id, start), ()), key=lambda pod: pod.uid)),
        )
        for (node_id, start), facts in sorted(domains.items())
        if node_id in nodes
    ]


def hours_with_facts(connection: sa.Connection, start: int, end: int) -> dict[int, int]:
    """The hours that touch [start, end) and may hold anything: each one's revision, in order of time.

    A revision that was read before the facts is never newer than they are.
    """
    hour, revision = schema.hour_revision.c.hour, schema.hour_revision.c.revision
    rows = connection.execute(sa.select(hour, revision).where(hour >= start - start % HOUR, hour < end).order_by(hour))
    return {row.hour: row.revision for row in rows}


def node_spans(connection: sa.Connection, cluster: str) -> list[NodeSpan]:
    """Every node that ever reported."""
    node, span = schema.node, schema.node_span
    rows = connection.execute(
        sa.select(span.c.node_id, span.c.first_start, span.c.last_end)
        .join(node, node.c.id == span.c.node_id)
        .where(node.c.cluster == cluster)
    )
    return [NodeSpan(*row) for row in rows]


def data_through(spans: list[NodeSpan]) -> int:
    """The second up to which every node that still reports has reported; 0 without any report."""
    latest = max((span.last_end for span in spans), default=0)
    return min((s.last_end for s in spans if s.last_end > latest - _SILENT_SECONDS), default=0)


def _nodes(connection: sa.Connection, cluster: str) -> dict[int, NodeFacts]:
    c = schema.node.c
    rows = connection.execute(
        sa.select(c.id, c.name, c.provider_id, c.region, c.zone, c.instance_type, c.cpu_millicores).where(
            c.cluster == cluster
        )
    )
    return {row[0]: NodeFacts(*row) for row in rows}


def _domains(connection: sa.Connection, hour: int) -> dict[tuple[int, int], dict[str, DomainFacts]]:
    table = schema.node_fact
    rows = connection.execute(
        sa.select(
            table.c.node_id, table.c.start, table.c.domain, table.c.method, table.c.measured_uj,
            table.c.idle_uj, table.c.system_uj, table.c.unseen_uj, table.c.duration_ms,
        ).where(table.c.start >= hour, table.c.start < hour + HOUR)
    )  # fmt: skip
    slices: dict[tuple[int, int], dict[str, DomainFacts]] = defaultdict(dict)
    for node_id, start, name, method, measured, idle, system, unseen, duration in rows:
        facts = slices[(node_id, start)]
        former = facts.get(name, DomainFacts(0, 0, 0, 0, 0, 0))
        facts[name] = DomainFacts(  # a meter that came or went inside the slice: two rows, one domain
            measured_uj=former.measured_uj + measured,
            idle_uj=former.idle_uj + idle,
            system_uj=former.system_uj + system,
            unseen_uj=former.unseen_uj + unseen,
            metered_uj=former.metered_uj + (0 if method == "model" else measured),
            duration_ms=former.duration_ms + duration,
        )
    return slices


def _pods(connection: sa.Connection, hour: int) -> dict[tuple[int, int], list[PodFacts]]:
    pod, fact, energy = schema.pod, schema.pod_fact, schema.pod_energy
    own: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    held: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    for pod_id, start, domain, energy_uj, idle_uj in connection.execute(
        sa.select(energy.c.pod_id, energy.c.start, energy.c.domain, energy.c.energy_uj, energy.c.idle_uj)
        .where(energy.c.start >= hour, energy.c.start < hour + HOUR)
    ):  # fmt: skip
        own[(pod_id, start)][domain] = energy_uj
        if idle_uj:
            held[(pod_id, start)][domain] = idle_uj
    labels = _label_sets(connection, hour)
    found: dict[tuple[int, int], list[PodFacts]] = defaultdict(list)
    rows = connection.execute(
        sa.select(
            fact.c.pod_id, fact.c.start, pod.c.node_id, pod.c.uid, pod.c.namespace, pod.c.name,
            pod.c.controller_kind, pod.c.controller_name, pod.c.label_set_id, fact.c.cpu_us,
            fact.c.cpu_request_millicore_ms, fact.c.duration_ms,
        )
        .join(pod, pod.c.id == fact.c.pod_id)
        .where(fact.c.start >= hour, fact.c.start < hour + HOUR)
    )  # fmt: skip
    for pod_id, start, node_id, uid, namespace, name, kind, owner, label_id, cpu_us, request, ms in rows:
        found[(node_id, start)].append(
            PodFacts(
                uid=uid,
                namespace=namespace,
                name=name,
                workload=f"{kind}/{owner}" if kind else f"Pod/{name}",
                labels=labels[label_id],
                energy_uj=own.get((pod_id, start), {}),
                idle_uj=held.get((pod_id, start), {}),
                cpu_us=cpu_us,
                cpu_request_millicore_ms=request,
                duration_ms=ms,
            )
        )
    return found


def _label_sets(connection: sa.Connection, hour: int) -> dict[int, dict[str, str]]:
    pod, fact, labels = schema.pod, schema.pod_fact, schema.label_set
    rows = connection.execute(
        sa.select(labels.c.id, labels.c.labels)
        .distinct()
        .join(pod, pod.c.label_set_id == labels.c.id)
        .join(fact, fact.c.pod_id == pod.c.id)
        .where(fact.c.start >= hour, fact.c.start < hour + HOUR)
    )
    return {key: json.loads(text) for key, text in rows}
