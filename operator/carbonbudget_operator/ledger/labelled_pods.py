"""Finds the pods that carry a label, from the pods whose facts are still stored."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks


def labelled_pods(
    connection: sa.Connection, cluster: str, start: int, end: int, namespaces: Collection[str] | None, containing: str
) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Uid, namespace and labels of the pods with facts in the whole hours [start, end).

    Of these namespaces, and of pods whose labels as JSON contain that text. A pod whose labels changed is there once
    for each set of them. Pods of sealed hours are forgotten (`pod_days` in the settings).
    """
    pod, labels = schema.pod.c, schema.label_set.c
    query = (
        sa.select(pod.id, pod.uid, pod.namespace, labels.labels, pod.last_hour)
        .join(schema.label_set, labels.id == pod.label_set_id)
        .join(schema.node, schema.node.c.id == pod.node_id)
        .where(schema.node.c.cluster == cluster, pod.last_hour >= start)
    )
    if containing:
        query = query.where(labels.labels.contains(containing, autoescape=True))
    if namespaces is not None:
        query = query.where(pod.namespace.in_(namespaces))
    found = connection.execute(query).all()
    later = [pod_id for pod_id, *_, last_hour in found if last_hour >= end]
    there = set(_with_facts(connection, later, start, end))
    for pod_id, uid, namespace, text, last_hour in found:
        if last_hour < end or pod_id in there:
            yield uid, namespace, json.loads(text)


def labelled_pod_ids(
    connection: sa.Connection, cluster: str, start: int, namespace: str, label: tuple[str, str]
) -> list[int]:
    """The ids under which the ledger has the pods of a namespace with this label and with facts since `start`."""
    pod, labels = schema.pod.c, schema.label_set.c
    key, value = label
    found = connection.execute(
        sa.select(pod.id, labels.labels)
        .join(schema.label_set, labels.id == pod.label_set_id)
        .join(schema.node, schema.node.c.id == pod.node_id)
        .where(schema.node.c.cluster == cluster, pod.namespace == namespace, pod.last_hour >= start)
        .where(labels.labels.contains(f'"{key}":{json.dumps(value)}', autoescape=True))
    )
    # Exactly: SQLite's LIKE does not tell upper from lower case.
    return sorted(pod_id for pod_id, text in found if json.loads(text).get(key) == value)


def _with_facts(connection: sa.Connection, ids: list[int], start: int, end: int) -> Iterator[int]:
    """The pods with facts in [start, end), of those that have facts after `end`."""
    fact = schema.pod_fact.c
    for some in chunks(ids):
        yield from connection.scalars(
            sa.select(fact.pod_id).where(fact.start >= start, fact.start < end, fact.pod_id.in_(some)).distinct()
        )
