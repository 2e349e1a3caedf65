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
        _count("missing_before"),
        sa.UniqueConstraint("cluster", "namespace", "digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "unit_day",
        _key("counter_id"),
        _key("day"),
        sa.Column("states", sa.String(24), nullable=False),
        sa.Column("refused", sa.String(512), nullable=False),
        sa.Column("pods", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unit_failure",
        _key("counter_id"),
        _key("hour"),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(512), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unit_lease",
        sa.Column("cluster", sa.String(512), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables: units that Prometheus has forgotten meanwhile are lost."""
    for name in ("unit_lease", "unit_failure", "unit_day", "unit_counter"):
        op.drop_table(name)
