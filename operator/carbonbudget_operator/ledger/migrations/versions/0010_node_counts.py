"""Counts of nodes by kind: those that should report, and those on which no agent runs."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "node_count",
        sa.Column("cluster", sa.String(512), primary_key=True),
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("nodes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("until", sa.BigInteger, nullable=False, server_default="0"),
    )


def downgrade() -> None:
    """Drop it: an earlier version does not count nodes by kind."""
    op.drop_table("node_count")
