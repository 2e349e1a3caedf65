"""The first schema.

Written out rather than derived from `ledger.schema`: a migration must make the same tables for ever, also
after the schema has moved on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(512), nullable=False, server_default="")


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "node",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cluster", sa.String(512), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        *(_text(name) for name in ("provider_id", "region", "zone", "instance_type", "cpu_model")),
        *(_count(name) for name in ("threads", "memory_bytes", "cpu_millicores")),
        *(_count(name) for name in ("allocatable_memory_bytes", "gpus", "first_start", "last_end")),
        sa.UniqueConstraint("cluster", "name"),
    )
    op.create_table(
        "node_windows",
        sa.Column("node_id", _ID, sa.ForeignKey("node.id"), primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True),
        sa.Column("windows", sa.LargeBinary, nullable=False),
    )
    op.create_table("cut", sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False))
    op.create_table(
        "node_hour",
        sa.Column("node_id", _ID, sa.ForeignKey("node.id"), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("domain", sa.String(512), primary_key=True),
        sa.Column("method", sa.String(16), primary_key=True),
        sa.Column("boundary", sa.String(16), primary_key=True),
        *(_count(name) for name in ("duration_ms", "measured_uj", "idle_uj", "system_uj", "unseen_uj")),
        *(_count(name) for name in ("low_uj", "high_uj")),
    )
    op.create_table(
        "label_set",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("labels", sa.Text, nullable=False, unique=True),
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
        sa.UniqueConstraint("node_id", "uid", "label_set_id"),
    )
    op.create_table(
        "pod_hour",
        sa.Column("pod_id", _ID, sa.ForeignKey("pod.id"), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        *(_count(name) for name in ("cpu_us", "memory_byte_seconds", "gpu_ms")),
        *(_count(name) for name in ("cpu_request_millicore_ms", "memory_request_byte_seconds")),
        *(_count(name) for name in ("gpu_request_ms", "duration_ms")),
    )
    op.create_index("ix_pod_hour_start", "pod_hour", ["start"])
    op.create_table(
        "pod_energy",
        sa.Column("pod_id", _ID, sa.ForeignKey("pod.id"), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("domain", sa.String(512), primary_key=True),
        *(_count(name) for name in ("energy_uj", "idle_uj")),
    )
    op.create_index("ix_pod_energy_start", "pod_energy", ["start"])
