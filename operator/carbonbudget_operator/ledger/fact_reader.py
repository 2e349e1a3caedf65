"""Reads facts from the ledger: the energy and use of nodes and their pods in an hour, and up to when there are any."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.cuts import load_cuts
from carbonbudget_operator.ledger.facts import DomainFacts, NodeFacts, NodeSlice, PodGroup, PodGroupFacts
from carbonbudget_operator.ledger.time_slices import HOUR, slice_end
from carbonbudget_operator.ledger.unreadable_rows import left_out, valid_rows

_NOBODY = (-1, PodGroup("", "", {}))  # stands for a pod that is not there
# A node silent for this long no longer holds back `data_through`; its missing time shows as coverage.
SILENT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class NodeSpan:
    """From when to when a node has reported."""

    node_id: int
    first_start: int
    last_end: int


def read_hour(connection: sa.Connection, cluster: str, hour: int) -> list[NodeSlice]:
    """What each node reported in one hour; what cannot be read of it is left out and counted (`unreadable_rows.py`)."""
    nodes = read_nodes(connection, cluster, hour)
    # An hour that is still open reaches as far as its node has reported.
    spans = _spans(connection, hour)
    ends = {node_id: min(hour + HOUR, span.last_end) for node_id, span in spans.items()}
    domains = _domains(connection, hour)
    groups = _groups(connection, hour, ends)
    found: list[NodeSlice] = []
    for node_id, facts in sorted(domains.items()):
        if node_id not in nodes:
            continue
        its = tuple(sorted(groups.get(node_id, {}).values(), key=_order))
        if not _conserve(facts, its):
            left_out.node_hour(nodes[node_id].name, node_id, hour, "its pods hold more energy than was measured")
            continue
        span = spans.get(node_id)
        end = max(hour + 1, ends.get(node_id, hour))
        found.append(NodeSlice(nodes[node_id], hour, end, facts, its, span.first_start if span else hour))
    return found


def _conserve(domains: Mapping[str, DomainFacts], groups: Iterable[PodGroupFacts]) -> bool:
    """Add what the parts of each domain lack to its `unseen_uj`; False if a part is more than the whole.

    They lack something only where a row could not be read: whose energy that was is not known any more.
    """
    own: dict[str, int] = {}
    for group in groups:
        for energies in (group.energy_uj, group.idle_uj):
            for name, energy_uj in energies.items():
                own[name] = own.get(name, 0) + energy_uj
    if not own.keys() <= domains.keys():
        return False
    for name, domain in domains.items():
        lacking = domain.measured_uj - domain.idle_uj - domain.system_uj - domain.unseen_uj - own.get(name, 0)
        if lacking < 0:
            return False
        domain.unseen_uj += lacking
    return True


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
    return min((s.last_end for s in spans if s.last_end > latest - SILENT_SECONDS), default=0)


def read_nodes(
    connection: sa.Connection, cluster: str, hour: int | None = None, since: int | None = None,
    ids: Collection[int] | None = None,
) -> dict[int, NodeFacts]:  # fmt: skip
    """The cluster's nodes by id: every one, those with facts of an hour, that reported after `since`, or these."""
    c = schema.node.c
    query = sa.select(
        c.id, c.name, c.provider_id, c.region, c.zone, c.instance_type, c.cpu_millicores, c.threads, c.gpus
    ).where(c.cluster == cluster)
    if hour is not None:
        query = query.where(c.id.in_(_nodes_of(hour)))
    if ids is not None:
        query = query.where(c.id.in_(sorted(ids)))
    if since is not None:
        span = schema.node_span.c
        query = query.where(c.id.in_(sa.select(span.node_id).where(span.last_end > since).scalar_subquery()))
    return {row[0]: NodeFacts(*row) for row in valid_rows(connection.execute(query), 6, "node", zeroed=True)}


def _nodes_of(hour: int) -> sa.ScalarSelect[int]:
    fact = schema.node_fact.c
    return sa.select(fact.node_id).where(fact.start >= hour, fact.start < hour + HOUR).distinct().scalar_subquery()


def _spans(connection: sa.Connection, hour: int) -> dict[int, NodeSpan]:
    span = schema.node_span.c
    query = sa.select(span.node_id, span.first_start, span.last_end).where(span.node_id.in_(_nodes_of(hour)))
    rows = valid_rows(connection.execute(query), 1, "node_span", zeroed=True)
    return {row[0]: NodeSpan(*row) for row in rows}


def _domains(connection: sa.Connection, hour: int) -> dict[int, dict[str, DomainFacts]]:
    table = schema.node_fact
    rows = connection.execute(
        sa.select(
            table.c.start, table.c.node_id, table.c.domain, table.c.method, table.c.measured_uj,
            table.c.idle_uj, table.c.system_uj, table.c.unseen_uj, table.c.duration_ms,
        ).where(table.c.start >= hour, table.c.start < hour + HOUR)
    )  # fmt: skip
    nodes: dict[int, dict[str, DomainFacts]] = defaultdict(dict)
    for _, node_id, name, method, measured, idle, system, unseen, duration in valid_rows(rows, 4, "node_hour", 0):
        # A meter that came or went inside the hour: two rows, one domain.
        facts = nodes[node_id].setdefault(name, DomainFacts())
        facts.measured_uj += measured
        facts.idle_uj += idle
        facts.system_uj += system
        facts.unseen_uj += unseen
        facts.metered_uj += 0 if method == "model" else measured
        facts.duration_ms += duration
    return nodes


_Parts = dict[tuple[PodGroup, int], PodGroupFacts]  # by group and start of the slice


def _groups(connection: sa.Connection, hour: int, ends: Mapping[int, int]) -> dict[int, _Parts]:
    """By node. One object for each group of the hour: rows of it are found by identity."""
    pod, fact, energy, owner = schema.pod, schema.pod_fact, schema.pod_energy, schema.owner
    labels, cuts = _label_sets(connection, hour), load_cuts(connection, hour + 1, hour + HOUR)
    known: dict[tuple[str, str, int], PodGroup] = {}
    of_pod: dict[int, tuple[int, PodGroup]] = {}
    found: dict[int, _Parts] = defaultdict(dict)
    rows = connection.execute(
        sa.select(
            fact.c.start, fact.c.pod_id, pod.c.node_id, pod.c.namespace, pod.c.name, pod.c.controller_kind,
            pod.c.controller_name, pod.c.label_set_id, owner.c.kind, owner.c.name, fact.c.cpu_us,
            fact.c.cpu_request_millicore_ms, fact.c.gpu_request_ms,
        )
        .join(pod, pod.c.id == fact.c.pod_id)
        .outerjoin(owner, owner.c.uid == pod.c.controller_uid)
        .where(fact.c.start >= hour, fact.c.start < hour + HOUR)
    )  # fmt: skip
    # A pod whose use cannot be read still has its energy: without use it is charged less of what is shared by use.
    for row in valid_rows(rows, 10, "pod_hour", start=0, zeroed=True):
        start, pod_id, node_id, namespace, name, kind, controller, label_id, *owned, cpu_us, request, gpu_ms = row
        top_kind, top = owned if owned[0] else (kind, controller) if kind else ("Pod", name)
        workload = f"{top_kind}/{top}"
        key = (namespace, workload, label_id)
        group = known.get(key)
        if group is None:
            group = known[key] = PodGroup(namespace, workload, labels[label_id])
        of_pod[pod_id] = (node_id, group)
        parts = found[node_id]
        facts = parts.get((group, start))
        if facts is None:
            facts = parts[(group, start)] = PodGroupFacts(group)
            if its := cuts.of(namespace):
                facts.part = (start, max(start + 1, min(slice_end(start, its), ends.get(node_id, hour + HOUR))))
        facts.pods += 1
        facts.cpu_us += cpu_us
        facts.reserved += max(request, cpu_us)
        facts.gpu_reserved_ms += gpu_ms
    energies = connection.execute(
        sa.select(energy.c.start, energy.c.pod_id, energy.c.domain, energy.c.energy_uj, energy.c.idle_uj).where(
            energy.c.start >= hour, energy.c.start < hour + HOUR
        )
    )
    for start, pod_id, domain, energy_uj, idle_uj in valid_rows(energies, 3, "pod_energy", start=0):
        node_id, group = of_pod.get(pod_id, _NOBODY)
        facts = found.get(node_id, {}).get((group, start))
        if facts is None:  # its pod is not in the ledger
            left_out.row("pod_energy", start, (start, pod_id, domain))
            continue
        facts.energy_uj[domain] = facts.energy_uj.get(domain, 0) + energy_uj
        if idle_uj:
            facts.idle_uj[domain] = facts.idle_uj.get(domain, 0) + idle_uj
    return found


def _order(facts: PodGroupFacts) -> tuple[str, str, list[tuple[str, str]], tuple[int, int]]:
    """A key that orders equal facts alike, so that the last microjoule always goes the same way."""
    group = facts.group
    return group.namespace, group.workload, sorted(group.labels.items()), facts.part or (0, 0)


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
