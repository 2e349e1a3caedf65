"""Reads the pods of controllers, slice by slice, from which the share of a run in its group is computed.

Looked up by the key of the facts (slice and pod): what it costs goes by the pods that are asked for and those of
their groups, not by all that ran in the hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unreadable_rows import valid_in_database, valid_rows

# Kinds whose pods have no end of their own: what one of them emitted in its life says nothing of the next.
ENDLESS = ("ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Node")
_STARTS_AT_ONCE = 100
_NAMESPACES_AT_ONCE = 500
_MAX_MS = 2**40  # of a pod in a slice; a thousand windows of it in an hour are far below


@dataclass(frozen=True, slots=True)
class ControllerReference:
    """A controller as its pods' ownerReferences name it; without a uid any of that name."""

    namespace: str
    kind: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class GroupKey:
    """The group that a pod's facts are summed up in: budgets see no closer."""

    namespace: str
    workload: str
    label_set_id: int


@dataclass(frozen=True, slots=True)
class RunPod:
    """A pod under one set of labels; the same pod under others has another id."""

    id: int
    uid: str
    node_id: int
    controller: ControllerReference
    group: GroupKey


@dataclass(slots=True)
class PodFacts:
    """One pod in one slice: its own energy, the idle energy of devices that it claimed, what it reserved."""

    pod_id: int
    start: int
    reserved: int
    gpu_reserved_ms: int
    energy_uj: int = 0
    held_uj: int = 0


@dataclass(frozen=True, slots=True)
class FiniteWorkload:
    """A workload's pods that were first seen after some time, and the latest one's id."""

    namespace: str
    workload: str
    pods: int
    latest: int


def first_fact(connection: sa.Connection, cluster: str, start: int, end: int) -> int | None:
    """The first hour that touches [start, end) and in which anything was reported."""
    fact, node = schema.node_fact.c, schema.node
    since = start - start % HOUR
    return connection.scalar(
        sa.select(fact.start)
        .join(node, node.c.id == fact.node_id)
        .where(node.c.cluster == cluster, fact.start >= since, fact.start < end)
        .order_by(fact.start)
        .limit(1)
    )


def pods_of(connection: sa.Connection, cluster: str, controllers: Iterable[ControllerReference]) -> list[RunPod]:
    """The pods of any of these controllers."""
    wanted = set(controllers)
    pod = schema.pod.c
    found: list[RunPod] = []
    for names in chunks(sorted({controller.name for controller in wanted})):
        for item in _pods(connection, cluster, pod.controller_name.in_(names)):
            if item.controller in wanted or replace(item.controller, uid="") in wanted:
                found.append(item)
    return found


def pods_by_uid(connection: sa.Connection, cluster: str, uid: str) -> list[RunPod]:
    """The pod of this uid: one for each set of labels that it had."""
    return list(_pods(connection, cluster, schema.pod.c.uid == uid))


def pods_by_uids(connection: sa.Connection, cluster: str, uids: Iterable[str]) -> list[RunPod]:
    """The pods of any of these uids."""
    return [pod for some in chunks(sorted(uids)) for pod in _pods(connection, cluster, schema.pod.c.uid.in_(some))]


def members_of(
    connection: sa.Connection, cluster: str, groups: Iterable[GroupKey], starts: Iterable[int]
) -> list[RunPod]:
    """All pods of these groups that may have been there in the slices that start then."""
    wanted, when = set(groups), sorted(starts)
    pod, fact = schema.pod.c, schema.pod_fact.c
    namespaces = sorted({group.namespace for group in wanted})
    narrow: list[sa.ColumnElement[bool]] = (
        [pod.namespace.in_(namespaces)] if len(namespaces) <= _NAMESPACES_AT_ONCE else []
    )
    if len(when) <= _STARTS_AT_ONCE:  # a CronJob of each minute has a long past
        narrow.append(sa.exists().where(fact.pod_id == pod.id, fact.start.in_(when)))
    found: list[RunPod] = []
    for part in chunks(sorted({group.label_set_id for group in wanted})):
        rows = _pods(connection, cluster, pod.label_set_id.in_(part), *narrow)
        found += [item for item in rows if item.group in wanted]
    return found


def read_pods(connection: sa.Connection, pod_ids: Sequence[int], starts: Sequence[int]) -> list[PodFacts]:
    """What these pods did in the slices that start then."""
    fact, energy = schema.pod_fact.c, schema.pod_energy.c
    found: dict[tuple[int, int], PodFacts] = {}
    for some in chunks(starts, _STARTS_AT_ONCE):
        for ids in chunks(pod_ids):
            rows = connection.execute(
                sa.select(
                    fact.start, fact.pod_id, fact.cpu_us, fact.cpu_request_millicore_ms, fact.gpu_request_ms
                ).where(fact.start.in_(some), fact.pod_id.in_(ids))
            )
            for start, pod_id, cpu_us, request, gpu_ms in valid_rows(rows, 2, "pod_hour", start=0, zeroed=True):
                found[(pod_id, start)] = PodFacts(pod_id, start, max(request, cpu_us), gpu_ms)
            parts = connection.execute(
                sa.select(energy.start, energy.pod_id, energy.domain, energy.energy_uj, energy.idle_uj).where(
                    energy.start.in_(some), energy.pod_id.in_(ids)
                )
            )
            for start, pod_id, _, energy_uj, idle_uj in valid_rows(parts, 3, "pod_energy", start=0):
                its = found.get((pod_id, start))
                if its is not None:
                    its.energy_uj += energy_uj
                    its.held_uj += idle_uj
    return list(found.values())


def label_sets(connection: sa.Connection, ids: Iterable[int]) -> dict[int, str]:
    """Label sets as they are stored: JSON with sorted keys."""
    c = schema.label_set.c
    return {
        key: text
        for part in chunks(sorted(ids))
        for key, text in connection.execute(sa.select(c.id, c.labels).where(c.id.in_(part)))
    }


def last_pod(connection: sa.Connection, start: int, end: int) -> int:
    """The highest id of a pod seen in [start, end); 0 without any. Later ones were first seen later."""
    fact = schema.pod_fact.c
    return connection.scalar(sa.select(sa.func.max(fact.pod_id)).where(fact.start >= start, fact.start < end)) or 0


def finite_workloads(connection: sa.Connection, cluster: str, after_pod: int, limit: int) -> list[FiniteWorkload]:
    """Workloads whose pods come to an end, with how many pods each had since then; the latest first."""
    kind, name = _workload()
    pod = schema.pod.c
    count, latest = sa.func.count(pod.uid.distinct()), sa.func.max(pod.id)
    rows = connection.execute(
        sa.select(pod.namespace, kind, name, count, latest)
        .join(schema.node, schema.node.c.id == pod.node_id)
        .outerjoin(schema.owner, schema.owner.c.uid == pod.controller_uid)
        .where(schema.node.c.cluster == cluster, pod.id > after_pod, pod.controller_kind.not_in(ENDLESS))
        .group_by(pod.namespace, kind, name)
        .order_by(latest.desc())
        .limit(limit)
    )
    return [FiniteWorkload(namespace, f"{its}/{called}", pods, last) for namespace, its, called, pods, last in rows]


def pod_milliseconds(
    connection: sa.Connection, cluster: str, after_pod: int, start: int, end: int
) -> Mapping[tuple[str, str], int]:
    """How long those workloads' pods ran in [start, end), added up, by namespace and workload."""
    kind, name = _workload()
    pod, fact = schema.pod.c, schema.pod_fact.c
    rows = connection.execute(
        sa.select(pod.namespace, kind, name, sa.func.sum(fact.duration_ms))
        .join(schema.pod_fact, fact.pod_id == pod.id)
        .join(schema.node, schema.node.c.id == pod.node_id)
        .outerjoin(schema.owner, schema.owner.c.uid == pod.controller_uid)
        .where(schema.node.c.cluster == cluster, pod.id > after_pod, pod.controller_kind.not_in(ENDLESS))
        .where(fact.start >= start, fact.start < end, valid_in_database(connection.dialect, fact.duration_ms, _MAX_MS))
        .group_by(pod.namespace, kind, name)
    )
    return {(namespace, f"{its}/{called}"): int(ms) for namespace, its, called, ms in rows}


def _workload() -> tuple[sa.ColumnElement[str], sa.ColumnElement[str]]:
    """Kind and name of the workload that people know, as `read_hour` finds it."""
    pod, owner = schema.pod.c, schema.owner.c
    kind = sa.case((owner.kind.is_not(None), owner.kind), (pod.controller_kind != "", pod.controller_kind), else_="Pod")
    name = sa.case(
        (owner.kind.is_not(None), owner.name), (pod.controller_kind != "", pod.controller_name), else_=pod.name
    )
    return kind, name


def _pods(connection: sa.Connection, cluster: str, *where: sa.ColumnElement[bool]) -> Iterable[RunPod]:
    kind, name = _workload()
    pod = schema.pod.c
    rows = connection.execute(
        sa.select(
            pod.id, pod.uid, pod.node_id, pod.namespace, pod.controller_kind, pod.controller_name, pod.controller_uid,
            kind, name, pod.label_set_id,
        )
        .join(schema.node, schema.node.c.id == pod.node_id)
        .outerjoin(schema.owner, schema.owner.c.uid == pod.controller_uid)
        .where(schema.node.c.cluster == cluster, *where)
    )  # fmt: skip
    for pod_id, uid, node_id, namespace, its, called, its_uid, top, top_name, set_id in rows:
        controller = ControllerReference(namespace, its, called, its_uid)
        yield RunPod(pod_id, uid, node_id, controller, GroupKey(namespace, f"{top}/{top_name}", set_id))
