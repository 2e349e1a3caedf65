"""Units of sealed hours by the labels of their pods, which are deleted when an hour is sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Make the table, empty: hours that are sealed already have no units by label."""
    op.create_table(
        "kept_units",
        _key("counter_id"),
        _key("hour"),
        sa.Column("namespace", sa.String(512), primary_key=True),
        _key("label_set_id"),
        sa.Column("micro", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the table: which labels the pods of sealed hours had is lost."""
    op.drop_table("kept_units")
