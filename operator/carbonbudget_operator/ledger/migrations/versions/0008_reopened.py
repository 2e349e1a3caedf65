"""Closures of reports that were undone."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "reopened_report",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("cluster", sa.String(512), nullable=False),
        sa.Column("period", sa.String(32), nullable=False),
        sa.Column("closed_at", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("reopened_at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(512), nullable=False),
    )
