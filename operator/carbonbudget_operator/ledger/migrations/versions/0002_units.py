"""Facts by time, label sets by digest, revisions of hours, valued units, seals, closed reports.

Tables whose keys change are made anew beside the old ones, filled from them and take their place. A window that
was booked before and comes again after counts as a conflict, not twice: its content is digested in another way.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# Read by time, written by key, each row sixty times in its hour.
_FACTS: dict[str, Any] = {"sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 50}}


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(512), nullable=False, server_default="")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


_OLD = ("pod_energy", "pod_hour", "node_windows", "node_hour", "pod", "label_set", "node")


def upgrade() -> None:
    """Put the old tables aside, make the new ones, move what was kept."""
    for name in _OLD:
        op.rename_table(name, f"{name}_0001")
    _make_facts()
    _make_units()
    _move(op.get_bind())
    for name in _OLD:
        op.drop_table(f"{name}_0001")


def _make_facts() -> None:
    op.create_table(
        "node",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cluster", sa.String(512), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        *(_text(name) for name in ("provider_id", "region", "zone", "instance_type", "cpu_model")),
        *(_count(name) for name in ("threads", "memory_bytes", "cpu_millicores")),
        *(_count(name) for name in ("allocatable_memory_bytes", "gpus")),
        sa.UniqueConstraint("cluster", "name"),
    )
    op.create_table("node_span", _key("node_id"), _count("first_start"), _count("last_end"))
    op.create_table(
        "node_windows",
        _key("hour"),
        _key("node_id"),
        sa.Column("windows", sa.LargeBinary, nullable=False),
        **_FACTS,
    )
    op.create_table("hour_revision", _key("hour"), _count("revision"))
    op.create_table(
        "node_hour",
        _key("start"),
        _key("node_id"),
        sa.Column("domain", sa.String(512), primary_key=True),
        sa.Column("method", sa.String(16), primary_key=True),
        sa.Column("boundary", sa.String(16), primary_key=True),
        *(_count(name) for name in ("duration_ms", "measured_uj", "idle_uj", "system_uj", "unseen_uj")),
        *(_count(name) for name in ("low_uj", "high_uj")),
        **_FACTS,
    )
    op.create_table(
        "label_set",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("digest", sa.LargeBinary(16), nullable=False, unique=True),
        sa.Column("labels", sa.Text, nullable=False),
    )
    op.create_table(
        "pod",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("node_id", _ID, sa.ForeignKey("node.id"), nullable=False),
        sa.Column("uid", sa.String(512), nullable=False),
        sa.Column("label_set_id", _ID, sa.ForeignKey("label_set.id"), nullable=False),
        sa.Column("namespace", sa.String(512), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        *(_text(name) for name in ("controller_kind", "controller_name", "controller_uid")),
        sa.UniqueConstraint("uid", "node_id", "label_set_id"),
    )
    op.create_table(
        "pod_hour",
        _key("start"),
        _key("pod_id"),
        *(_count(name) for name in ("cpu_us", "memory_byte_seconds", "gpu_ms")),
        *(_count(name) for name in ("cpu_request_millicore_ms", "memory_request_byte_seconds")),
        *(_count(name) for name in ("gpu_request_ms", "duration_ms")),
        **_FACTS,
    )
    op.create_table(
        "pod_energy",
        _key("start"),
        _key("pod_id"),
        sa.Column("domain", sa.String(512), primary_key=True),
        *(_count(name) for name in ("energy_uj", "idle_uj")),
        **_FACTS,
    )


def _make_units() -> None:
    op.create_table(
        "closed_report",
        sa.Column("cluster", sa.String(512), primary_key=True),
        sa.Column("period", sa.String(32), primary_key=True),
        sa.Column("closed_at", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("report", sa.Text, nullable=False),
    )
    for name, *columns in (
        ("derivation", sa.Column("description", sa.Text, nullable=False)),
        (
            "row_group",
            sa.Column("scope", sa.String(64), nullable=False),
            sa.Column("namespace", sa.String(512), nullable=False),
            sa.Column("workload", sa.String(1100), nullable=False),
            sa.Column("labels", sa.Text, nullable=False),
        ),
        ("factor_set", sa.Column("factors", sa.Text, nullable=False)),
    ):
        op.create_table(
            name,
            sa.Column("id", _ID, primary_key=True),
            sa.Column("digest", sa.LargeBinary(16), nullable=False, unique=True),
            *columns,
        )
    op.create_table(
        "valued_unit",
        _key("derivation_id"),
        _key("level"),
        _key("start"),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.String(64), nullable=False),
        sa.Column("reported", sa.Text, nullable=False),
    )
    op.create_table(
        "valued_row",
        _key("derivation_id"),
        _key("level"),
        _key("start"),
        _key("group_id"),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("factor_set_id", sa.BigInteger, nullable=False),
        *(_count(name) for name in ("dynamic_uj", "idle_uj", "overhead_uj", "metered_uj")),
        *(_count(f"location_{part}_ug") for part in ("dynamic", "idle", "overhead")),
        *(_count(f"market_{part}_ug") for part in ("dynamic", "idle", "overhead")),
        *(_count(name) for name in ("embodied_ug", "facility_uj")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sealed_hour",
        sa.Column("cluster", sa.String(512), primary_key=True),
        _key("hour"),
        sa.Column("derivation_id", sa.BigInteger, nullable=False),
        sa.Column("sealed_at", sa.BigInteger, nullable=False),
    )


def _move(connection: sa.Connection) -> None:
    now = sa.MetaData()
    now.reflect(connection)
    for name in ("node", "node_windows", "node_hour", "pod_hour", "pod_energy"):
        _copy(connection, now, name)
    _copy(
        connection, now, "label_set", lambda row: {"digest": blake2b(row["labels"].encode(), digest_size=16).digest()}
    )
    _copy(connection, now, "pod")
    old_node, windows = now.tables["node_0001"].c, now.tables["node_windows"].c
    for table, query in (
        ("node_span", sa.select(old_node.id, old_node.first_start, old_node.last_end)),
        ("hour_revision", sa.select(windows.hour, sa.literal(1)).distinct()),
    ):
        new = now.tables[table]
        connection.execute(sa.insert(new).from_select([column.name for column in new.c], query))
    if connection.dialect.name == "postgresql":  # ids were given, so the counters must be told
        for name in ("node", "label_set", "pod"):
            ids = now.tables[name].c.id
            serial = sa.func.pg_get_serial_sequence(name, "id")
            connection.execute(sa.select(sa.func.setval(serial, sa.func.coalesce(sa.func.max(ids), 0) + 1)))


def _copy(
    connection: sa.Connection,
    tables: sa.MetaData,
    name: str,
    more: Callable[[Any], dict[str, Any]] = lambda row: {},
) -> None:
    old, new = tables.tables[f"{name}_0001"], tables.tables[name]
    shared = [old.c[column.name] for column in new.c if column.name in old.c]
    for rows in connection.execute(sa.select(*shared)).mappings().partitions(10_000):
        connection.execute(sa.insert(new), [{**row, **more(row)} for row in rows])
