"""Counters in Prometheus that targets ask for, and the units that they counted."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "unit_counter",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cluster", sa.String(512), nullable=False),
        sa.Column("namespace", sa.String(512), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expression", sa.Text, nullable=False),
        _count("first_hour"),
        _count("wanted_at"),
        sa.UniqueConstraint("cluster", "namespace", "digest"),
    )
    op.create_table(
        "unit_hour",
        _key("counter_id"),
        _key("hour"),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("gaps", sa.Boolean, nullable=False),
        _count("asked_at"),
        sa.Column("reason", sa.String(512), nullable=False, server_default=""),
        sqlite_with_rowid=False,
    )
    op.create_index("unit_hour_failed", "unit_hour", ["state", "asked_at"])
    op.create_table(
        "pod_units",
        _key("counter_id"),
        _key("hour"),
        sa.Column("namespace", sa.String(512), primary_key=True),
        sa.Column("pod", sa.String(512), primary_key=True),
        sa.Column("micro", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables: units that Prometheus has forgotten meanwhile are lost."""
    for name in ("pod_units", "unit_hour", "unit_counter"):
        op.drop_table(name)
