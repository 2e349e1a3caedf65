"""Which closed hours were sent to which target, in which revision, and which server sends."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "export_target",
        sa.Column("cluster", sa.String(512), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("first_hour", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "export_hour",
        sa.Column("cluster", sa.String(512), primary_key=True),
        sa.Column("target", sa.String(64), primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("sent", sa.Boolean, nullable=False),
        sa.Column("rows", sa.LargeBinary),
    )


def downgrade() -> None:
    """Drop the tables. After the next upgrade each target gets its hours again."""
    for name in ("export_hour", "export_target"):
        op.drop_table(name)
