"""The numbers that hours were valued by. What was valued before has none."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; unsealed hours are made anew under the rules of this version, and fill it."""
    op.add_column("valued_unit", sa.Column("applied", sa.Text))


def downgrade() -> None:
    """Drop it: an earlier version states no numbers.

    Hours that are kept and not sealed go too, to be made anew: otherwise they would have no numbers when the ledger
    comes up again.
    """
    sealed = sa.table("sealed_hour", sa.column("derivation_id"), sa.column("hour")).c
    for name in ("valued_unit", "valued_row"):
        table = sa.table(name, *map(sa.column, ("derivation_id", "level", "start")))
        kept = table.c
        is_sealed = sa.exists().where(
            sealed.derivation_id == kept.derivation_id, sealed.hour == kept.start - kept.start % 3600
        )
        op.execute(sa.delete(table).where(kept.level == 0, sa.not_(is_sealed)))
    with op.batch_alter_table("valued_unit") as altered:
        altered.drop_column("applied")
