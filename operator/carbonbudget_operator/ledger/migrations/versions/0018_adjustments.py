"""Adjustments of budgets' limits: carried over, overspent, transferred, credited."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    """Make the table, empty: limits are as their budgets say."""
    op.create_table(
        "adjustment",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        _text("cluster", 512),
        _text("namespace", 512),
        _text("name", 512),
        _number("period_start"),
        _number("period_end"),
        _text("reason", 16),
        _text("source", 512),
        _number("micrograms"),
        _text("detail", 256),
        _number("booked_at"),
        sa.UniqueConstraint("cluster", "namespace", "name", "period_start", "reason", "source"),
    )
    op.create_index("adjustment_period", "adjustment", ["cluster", "period_start"])
    op.create_index("adjustment_source", "adjustment", ["cluster", "source"])


def downgrade() -> None:
    """Drop the table: limits are as their budgets say again, and what was deducted is forgotten."""
    op.drop_table("adjustment")
