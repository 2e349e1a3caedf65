"""The range of embodied emissions in valued rows. What was sealed before has none: its figure is both ends."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; unsealed rows are made anew under the rules of this version."""
    for name in ("embodied_low_ug", "embodied_high_ug"):
        op.add_column("valued_row", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    row = sa.table(
        "valued_row", *map(sa.column, ("derivation_id", "embodied_ug", "embodied_low_ug", "embodied_high_ug"))
    )
    sealed = sa.select(sa.table("sealed_hour", sa.column("derivation_id")).c.derivation_id)
    op.execute(
        sa.update(row)
        .where(row.c.derivation_id.in_(sealed))
        .values(embodied_low_ug=row.c.embodied_ug, embodied_high_ug=row.c.embodied_ug)
    )
