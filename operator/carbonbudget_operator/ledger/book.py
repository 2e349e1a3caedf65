"""Booking: node reports become facts, once each, in one transaction for a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from carbonbudget_agent.exact import share_out
from carbonbudget_agent.report import Domain, NodeReport, PodUsage, encode_report
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.slices import HOUR, slice_start, spread

_DIGEST = 8
_ENTRY = 2 * _DIGEST


class Booked(Enum):
    """What became of a report."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(slots=True)
class _Batch:
    """Sums of one transaction, by primary key."""

    node_facts: dict[tuple[object, ...], list[int]] = field(default_factory=dict)
    pod_facts: dict[tuple[object, ...], list[int]] = field(default_factory=dict)
    pod_energy: dict[tuple[object, ...], list[int]] = field(default_factory=dict)
    windows: dict[tuple[int, int], bytes] = field(default_factory=dict)
    latest: dict[int, NodeReport] = field(default_factory=dict)
    first_since: dict[int, int] = field(default_factory=dict)
    touched_hours: set[int] = field(default_factory=set)


class Booker:
    """The one writer. It remembers ids it has given; forget them after a failed transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._node_ids: dict[tuple[str, str], int] = {}
        self._pod_ids: dict[tuple[int, str, str], int] = {}
        self._label_ids: dict[str, int] = {}

    def book(self, reports: Sequence[NodeReport]) -> tuple[list[Booked], set[int]]:
        """Book a batch; the fate of each report, and the hours whose facts changed.

        Either all of the batch is committed or nothing (SQLAlchemyError).
        """
        try:
            with self._engine.begin() as connection:
                cuts = load_cuts(connection)
                batch = _Batch()
                fates = [self._take(connection, report, batch, cuts) for report in reports]
                self._write(connection, batch)
            return fates, batch.touched_hours
        except BaseException:
            self._node_ids.clear()
            self._pod_ids.clear()
            self._label_ids.clear()
            raise

    def _take(self, connection: sa.Connection, report: NodeReport, batch: _Batch, cuts: Sequence[int]) -> Booked:
        node_id = self._node_id(connection, report)
        hour = report.window_start - report.window_start % HOUR
        key, content = _digests(report)
        windows = batch.windows.get((node_id, hour))
        if windows is None:
            windows = (
                connection.scalar(
                    sa.select(schema.node_windows.c.windows).where(
                        schema.node_windows.c.node_id == node_id, schema.node_windows.c.hour == hour
                    )
                )
                or b""
            )
        for at in range(0, len(windows), _ENTRY):
            if windows[at : at + _DIGEST] == key:
                same = windows[at + _DIGEST : at + _ENTRY] == content
                return Booked.DUPLICATE if same else Booked.CONFLICT
        batch.windows[(node_id, hour)] = windows + key + content
        latest = batch.latest.get(node_id)
        if latest is None or latest.window_end < report.window_end:
            batch.latest[node_id] = report
        batch.first_since[node_id] = min(report.since, batch.first_since.get(node_id, report.since))
        # An ordinary window lies in one slice; after a gap a report spans several, pro rata in time.
        parts = (
            spread(report.since, report.window_end, cuts)
            if report.since < report.window_start
            else {slice_start(report.window_start, cuts): 1}
        )
        batch.touched_hours.update(start - start % HOUR for start in parts)
        for domain in report.domains:
            _add_domain(batch, node_id, domain, report.pods, parts)
        for pod in report.pods:
            _add_pod(batch, self._pod_id(connection, node_id, pod), pod, parts)
        return Booked.STORED

    def _write(self, connection: sa.Connection, batch: _Batch) -> None:
        for table, rows in (
            (schema.node_fact, batch.node_facts),
            (schema.pod_fact, batch.pod_facts),
            (schema.pod_energy, batch.pod_energy),
        ):
            self._add_up(connection, table, rows)
        if batch.windows:
            statement = self._insert(schema.node_windows)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["node_id", "hour"], set_={"windows": statement.excluded.windows}
                ),
                [
                    {"node_id": node_id, "hour": hour, "windows": windows}
                    for (node_id, hour), windows in batch.windows.items()
                ],
            )
        table = schema.node
        for node_id, report in batch.latest.items():
            connection.execute(
                sa.update(table)
                .where(table.c.id == node_id, table.c.last_end < report.window_end)
                .values(**_node_values(report), last_end=report.window_end)
            )
        for node_id, since in batch.first_since.items():
            connection.execute(
                sa.update(table)
                .where(table.c.id == node_id, sa.or_(table.c.first_start == 0, table.c.first_start > since))
                .values(first_start=since)
            )

    def _add_up(self, connection: sa.Connection, table: sa.Table, rows: Mapping[tuple[object, ...], list[int]]) -> None:
        if not rows:
            return
        keys = [column.name for column in table.primary_key]
        counts = [column.name for column in table.columns if column.name not in keys]
        statement = self._insert(table)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=keys,
                set_={name: table.c[name] + statement.excluded[name] for name in counts},
            ),
            [
                dict(zip(keys, key, strict=True)) | dict(zip(counts, values, strict=True))
                for key, values in rows.items()
            ],
        )

    def _node_id(self, connection: sa.Connection, report: NodeReport) -> int:
        key = (report.cluster, report.node)
        if key not in self._node_ids:
            table = schema.node
            found = connection.scalar(
                sa.select(table.c.id).where(table.c.cluster == report.cluster, table.c.name == report.node)
            )
            self._node_ids[key] = found or _inserted(
                connection, table, cluster=report.cluster, name=report.node, **_node_values(report)
            )
        return self._node_ids[key]

    def _pod_id(self, connection: sa.Connection, node_id: int, pod: PodUsage) -> int:
        labels = json.dumps(dict(pod.labels), sort_keys=True, separators=(",", ":"))
        key = (node_id, pod.uid, labels)
        if key not in self._pod_ids:
            table, label_id = schema.pod, self._label_id(connection, labels)
            found = connection.scalar(
                sa.select(table.c.id).where(
                    table.c.node_id == node_id, table.c.uid == pod.uid, table.c.label_set_id == label_id
                )
            )
            owner = pod.controller
            self._pod_ids[key] = found or _inserted(
                connection,
                table,
                node_id=node_id,
                uid=pod.uid,
                label_set_id=label_id,
                namespace=pod.namespace,
                name=pod.name,
                controller_kind=owner.kind if owner else "",
                controller_name=owner.name if owner else "",
                controller_uid=owner.uid if owner else "",
            )
        return self._pod_ids[key]

    def _label_id(self, connection: sa.Connection, labels: str) -> int:
        if labels not in self._label_ids:
            table = schema.label_set
            found = connection.scalar(sa.select(table.c.id).where(table.c.labels == labels))
            self._label_ids[labels] = found or _inserted(connection, table, labels=labels)
        return self._label_ids[labels]


def load_cuts(connection: sa.Connection) -> list[int]:
    """All cuts, sorted."""
    return list(connection.scalars(sa.select(schema.cut.c.at).order_by(schema.cut.c.at)))


def _inserted(connection: sa.Connection, table: sa.Table, **values: object) -> int:
    key = connection.execute(sa.insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _node_values(report: NodeReport) -> dict[str, object]:
    info = report.node_info
    return {
        "provider_id": info.provider_id,
        "region": info.region,
        "zone": info.zone,
        "instance_type": info.instance_type,
        "cpu_model": info.cpu_model,
        "threads": info.threads,
        "memory_bytes": info.memory_bytes,
        "cpu_millicores": info.allocatable.cpu_millicores,
        "allocatable_memory_bytes": info.allocatable.memory_bytes,
        "gpus": info.allocatable.gpus,
    }


def _digests(report: NodeReport) -> tuple[bytes, bytes]:
    key = f"{report.boot_id}\n{report.window_start}\n{report.part}".encode()
    content = encode_report(report).encode()
    return blake2b(key, digest_size=_DIGEST).digest(), blake2b(content, digest_size=_DIGEST).digest()


def _spread(total: int, parts: Mapping[int, int]) -> Mapping[int, int]:
    return share_out(total, parts) if len(parts) > 1 else dict.fromkeys(parts, total)


def _add_domain(
    batch: _Batch, node_id: int, domain: Domain, pods: Sequence[PodUsage], parts: Mapping[int, int]
) -> None:
    """Each component is spread on its own and `measured` is their sum, so that every slice conserves."""
    idle, system, unseen = (_spread(value, parts) for value in (domain.idle_uj, domain.system_uj, domain.unseen_uj))
    low, high = (_spread(value or 0, parts) for value in (domain.low_uj, domain.high_uj))
    duration = _spread(domain.duration_ms, parts)
    measured = {start: idle[start] + system[start] + unseen[start] for start in parts}
    for pod in pods:
        for energies in (pod.energy_uj, pod.idle_uj):
            for start, energy_uj in _spread(energies.get(domain.name, 0), parts).items():
                measured[start] += energy_uj
    for start in parts:
        key = (node_id, start, domain.name, domain.method, domain.boundary)
        _sum(
            batch.node_facts,
            key,
            [
                duration[start], measured[start], idle[start], system[start], unseen[start],
                low[start], high[start],
            ],
        )  # fmt: skip


def _add_pod(batch: _Batch, pod_id: int, pod: PodUsage, parts: Mapping[int, int]) -> None:
    requests = pod.requests
    usage = [
        _spread(value, parts)
        for value in (
            pod.cpu_us,
            pod.memory_byte_seconds,
            pod.gpu_ms,
            requests.cpu_millicores * pod.duration_ms,
            requests.memory_bytes * pod.duration_ms // 1000,
            requests.gpus * pod.duration_ms,
            pod.duration_ms,
        )
    ]
    for start in parts:
        _sum(batch.pod_facts, (pod_id, start), [values[start] for values in usage])
    for name in pod.energy_uj.keys() | pod.idle_uj.keys():
        energy = _spread(pod.energy_uj.get(name, 0), parts)
        idle = _spread(pod.idle_uj.get(name, 0), parts)
        for start in parts:
            _sum(batch.pod_energy, (pod_id, start, name), [energy[start], idle[start]])


def _sum(sums: dict[tuple[object, ...], list[int]], key: tuple[object, ...], values: list[int]) -> None:
    former = sums.get(key)
    sums[key] = values if former is None else [a + b for a, b in zip(former, values, strict=True)]
