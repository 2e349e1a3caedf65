"""Owners of controllers, nodes that the cluster listed, hourly intensities."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "owner",
        sa.Column("uid", sa.String(512), primary_key=True),
        *(sa.Column(name, sa.String(512), nullable=False) for name in ("kind", "name", "owner_uid")),
    )
    op.create_table(
        "node_listed",
        *(sa.Column(name, sa.String(512), primary_key=True) for name in ("cluster", "name", "uid")),
        _count("since"),
        _count("until"),
    )
    op.create_table(
        "grid_hour",
        sa.Column("source", sa.String(128), primary_key=True),
        sa.Column("zone", sa.String(128), primary_key=True),
        sa.Column("basis", sa.String(16), primary_key=True),
        _key("hour"),
        _key("seen_at"),
        sa.Column("mg_per_kwh", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
    )
    op.create_table(
        "grid_poll",
        sa.Column("source", sa.String(128), primary_key=True),
        sa.Column("zone", sa.String(128), primary_key=True),
        _count("polled_at"),
        _count("good_at"),
        sa.Column("error", sa.String(512), nullable=False, server_default=""),
    )
