"""The labels that budgets select by, for all servers behind one ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table. It fills within a minute: the controller asks for its budgets."""
    op.create_table(
        "selected_label",
        sa.Column("namespace", sa.String(512), primary_key=True),
        sa.Column("several", sa.Boolean, primary_key=True),
        sa.Column("key", sa.String(512), primary_key=True),
        sa.Column("value", sa.String(512), primary_key=True),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_selected_label_asked_at", "selected_label", ["asked_at"])


def downgrade() -> None:
    """Drop it: what is in it is asked for anew each minute."""
    op.drop_table("selected_label")
