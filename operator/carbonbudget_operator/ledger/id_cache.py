"""Finds the ids of nodes, pods and label sets: from memory, else from the ledger in batches; new ones are inserted.

Several servers may insert the same one at once: the second one finds the id of the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import sqlalchemy as sa

from carbonbudget_core.node_report import NodeInfo, NodeReport, PodUsage
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import BulkInsert, chunks, integers, texts, written_array
from carbonbudget_operator.ledger.label_limits import LabelBound
from carbonbudget_operator.name_rules import is_owner

_MAX_LABEL_SETS = 50_000
_INFO = (
    "provider_id", "region", "zone", "instance_type", "cpu_model", "threads", "memory_bytes", "cpu_millicores",
    "allocatable_memory_bytes", "gpus",
)  # fmt: skip
_POD = (
    "node_id", "uid", "label_set_id", "namespace", "name", "controller_kind", "controller_name", "controller_uid",
    "last_hour",
)  # fmt: skip
_NO_OWNER = ("", "", "")
Labels = Mapping[str, str]
_Pod = tuple[int, str, int]  # node, uid, label set


def _find_pods_statement() -> sa.Select[tuple[int, str, int, int]]:
    """One look-up in the index for each key. Listed by uid PostgreSQL reads the whole table instead, as long as it
    has no statistics of it: 25 s for the pods of 1,000 nodes, against 0.1 s.
    """
    arrays = (
        written_array("node_ids", sa.BigInteger()),
        written_array("uids", sa.String()),
        written_array("set_ids", sa.BigInteger()),
    )
    names = (sa.column("node_id", sa.BigInteger), sa.column("uid", sa.String), sa.column("label_set_id", sa.BigInteger))
    key = sa.func.unnest(*arrays).table_valued(*names).render_derived("key")
    c = schema.pod.c
    same = (c.node_id == key.c.node_id, c.uid == key.c.uid, c.label_set_id == key.c.label_set_id)
    pod = sa.select(c.id).where(*same).limit(1).lateral("its_pod")  # without the limit it may be read whole again
    return sa.select(key.c.node_id, key.c.uid, key.c.label_set_id, pod.c.id).select_from(key.join(pod, sa.true()))


_FIND_PODS = _find_pods_statement()


@dataclass(slots=True)
class NodeRecord:
    """A node's id, its stored facts, and the pods of its latest reports: (labels, id) by uid."""

    id: int
    info: NodeInfo | None = None
    pods: dict[str, tuple[Labels, int]] = field(default_factory=dict)


class IdCache:
    """The ids that one writer has read. Call `forget` after a transaction that failed, and from time to time."""

    def __init__(self, dialect: sa.Dialect, max_label_values: int) -> None:
        self.label_bound = LabelBound(max_label_values)
        self.owners_left_out = 0  # pods whose controller no object in Kubernetes can be
        self._nodes: dict[tuple[str, str], NodeRecord] = {}
        self._label_sets: dict[str, tuple[Labels, int]] = {}
        self._put_nodes = BulkInsert(dialect, schema.node, ("cluster", "name"), ("cluster", "name"))
        self._put_info = BulkInsert(
            dialect, schema.node, ("cluster", "name", *_INFO), ("cluster", "name"), dict.fromkeys(_INFO, "set")
        )
        self._put_labels = BulkInsert(dialect, schema.label_set, ("digest", "labels"), ("digest",))
        merge = {"last_hour": "max", "namespace": "set", "name": "set"}  # the verified names replace earlier ones
        self._put_pods = BulkInsert(dialect, schema.pod, _POD, ("node_id", "uid", "label_set_id"), merge)

    def forget(self) -> None:
        """Forget all ids: those of a transaction that was rolled back are invalid, and deleted rows need none."""
        self._nodes.clear()
        self._label_sets.clear()

    def nodes(self, connection: sa.Connection, reports: Iterable[NodeReport]) -> dict[tuple[str, str], NodeRecord]:
        """Each report's node, by cluster and name."""
        wanted = {(report.cluster, report.node) for report in reports}
        missing = sorted(key for key in wanted if key not in self._nodes)
        table = schema.node
        self._put_nodes.put(connection, missing)
        for cluster in {cluster for cluster, _ in missing}:
            for names in chunks(name for where, name in missing if where == cluster):
                query = sa.select(table.c.id, table.c.name).where(table.c.cluster == cluster, table.c.name.in_(names))
                for node_id, name in connection.execute(query):
                    self._nodes[(cluster, name)] = NodeRecord(node_id)
        return {key: self._nodes[key] for key in wanted}

    def describe(self, connection: sa.Connection, latest: Mapping[tuple[str, str], NodeReport]) -> None:
        """Store the facts about nodes in the latest reports, where they have changed."""
        changed = {key: report for key, report in latest.items() if self._nodes[key].info != report.node_info}
        self._put_info.put(connection, ((*key, *_info(report.node_info)) for key, report in sorted(changed.items())))
        for key, report in changed.items():
            self._nodes[key].info = report.node_info

    def pods(
        self, connection: sa.Connection, reports: Sequence[tuple[NodeRecord, NodeReport]], hour: int
    ) -> list[list[int]]:
        """The ids of each report's pods, in their order. `hour`: no report is of a later one."""
        ids: list[list[int]] = []
        missing: list[tuple[NodeRecord, PodUsage, int]] = []
        places: list[tuple[list[int], int]] = []
        for node, report in reports:
            known = node.pods
            its: list[int] = []
            ids.append(its)
            for pod in report.pods:
                found = known.get(pod.uid)
                if found is None or found[0] != pod.labels:
                    missing.append((node, pod, report.window_start // 86_400))
                    places.append((its, len(its)))
                    its.append(0)
                else:
                    its.append(found[1])
        made = self._make_pods(connection, missing, hour) if missing else {}
        for (node, pod, _), (its, at) in zip(missing, places, strict=True):
            entry = node.pods[pod.uid] = made[(node.id, pod.uid, _text(pod.labels))]
            its[at] = entry[1]
        for node, report in reports:
            if len(node.pods) > len(report.pods):  # those that are gone are forgotten
                for uid in node.pods.keys() - {pod.uid for pod in report.pods}:
                    del node.pods[uid]
        return ids

    def _make_pods(
        self, connection: sa.Connection, missing: Sequence[tuple[NodeRecord, PodUsage, int]], hour: int
    ) -> dict[tuple[int, str, str], tuple[Labels, int]]:
        """By node, uid and the labels as they were reported; the stored labels are bounded."""
        texts = [_text(self.label_bound.bound(pod.namespace, pod.labels, day)) for _, pod, day in missing]
        sets = self._labels(connection, set(texts))
        rows = {}
        for (node, pod, _), text in zip(missing, texts, strict=True):
            owner, controller = pod.controller, _NO_OWNER
            if owner is not None:  # who creates a pod writes it: the pod counts by itself where it names no object
                if is_owner(owner.kind, owner.name, owner.uid):
                    controller = (owner.kind, owner.name, owner.uid)
                else:
                    self.owners_left_out += 1
            rows[(node.id, pod.uid, sets[text][1])] = (pod.namespace, pod.name, *controller, hour)
        self._put_pods.put(connection, ((*key, *rows[key]) for key in sorted(rows)))
        found = self._find_pods(connection, rows)
        return {
            (node.id, pod.uid, _text(pod.labels)): (
                # One object for all pods with these labels; where they were bounded, the ones to compare with.
                sets[text][0] if sets[text][0] == pod.labels else pod.labels,
                found[(node.id, pod.uid, sets[text][1])],
            )
            for (node, pod, _), text in zip(missing, texts, strict=True)
        }

    @staticmethod
    def _find_pods(connection: sa.Connection, keys: Iterable[_Pod]) -> dict[_Pod, int]:
        """By node, uid and label set."""
        wanted = sorted(keys)
        if connection.dialect.name == "postgresql":
            node_ids, uids, set_ids = zip(*wanted, strict=True)
            arrays = {"node_ids": integers(node_ids), "uids": texts(uids), "set_ids": integers(set_ids)}
            rows = connection.execute(_FIND_PODS, arrays).all()
            return {(row.node_id, row.uid, row.label_set_id): row.id for row in rows}
        pod, found = schema.pod.c, {}
        for part in chunks({uid for _, uid, _ in wanted}):
            query = sa.select(pod.node_id, pod.uid, pod.label_set_id, pod.id).where(pod.uid.in_(part))
            for row in connection.execute(query):
                found[(row.node_id, row.uid, row.label_set_id)] = row.id
        return {key: found[key] for key in wanted if key in found}

    def _labels(self, connection: sa.Connection, texts: set[str]) -> dict[str, tuple[Labels, int]]:
        missing = sorted(text for text in texts if text not in self._label_sets)
        if len(self._label_sets) + len(missing) > _MAX_LABEL_SETS:  # memory stays bounded; they are in the table
            self._label_sets.clear()
            missing = sorted(texts)
        digests = sorted((blake2b(text.encode(), digest_size=16).digest(), text) for text in missing)
        self._put_labels.put(connection, digests)
        table = schema.label_set
        for part in chunks(digest for digest, _ in digests):
            query = sa.select(table.c.id, table.c.labels).where(table.c.digest.in_(part))
            for set_id, text in connection.execute(query):
                self._label_sets[text] = (json.loads(text), set_id)
        return {text: self._label_sets[text] for text in texts}


def _text(labels: Labels) -> str:
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))


def _info(info: NodeInfo) -> tuple[str | int, ...]:
    offered = info.allocatable
    return (
        info.provider_id, info.region, info.zone, info.instance_type, info.cpu_model, info.threads,
        info.memory_bytes, offered.cpu_millicores, offered.memory_bytes, offered.gpus,
    )  # fmt: skip
