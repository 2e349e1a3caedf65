"""Figures that others measured, the files that they were imported from, and the files that were removed again."""

import sqlalchemy as sa
from alembic import op

from carbonbudget_operator.ledger.ledger_engine import LedgerError

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "external_file",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cluster", sa.String(512), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("imported_at", sa.BigInteger, nullable=False),
        sa.Column("imported_by", sa.String(512), nullable=False),
        sa.Column("figures", sa.BigInteger, nullable=False),
        sa.Column("rounded", sa.BigInteger, nullable=False),
        sa.Column("superseded", sa.BigInteger, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("cluster", "source", "sha256"),
    )
    op.create_table(
        "external_figure",
        sa.Column("file_id", _ID, sa.ForeignKey("external_file.id"), primary_key=True, autoincrement=False),
        sa.Column("line", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("scope", sa.String(16), primary_key=True),
        sa.Column("series", sa.LargeBinary(16), nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("emissions_ug", sa.BigInteger, nullable=False),
        sa.Column("energy_uj", sa.BigInteger),
        sa.Column("method", sa.String(128), nullable=False),
        sa.Column("stated", sa.String(128), nullable=False),
    )
    op.create_index("external_figure_series", "external_figure", ["series", "start"])
    op.create_table(
        "external_removal",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("cluster", sa.String(512), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("imported_at", sa.BigInteger, nullable=False),
        sa.Column("imported_by", sa.String(512), nullable=False),
        sa.Column("figures", sa.BigInteger, nullable=False),
        sa.Column("removed_at", sa.BigInteger, nullable=False),
        sa.Column("removed_by", sa.String(512), nullable=False),
        sa.Column("reason", sa.String(512), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables. Raises LedgerError while files are imported: an earlier version has no place for them."""
    count = op.get_bind().scalar(sa.select(sa.func.count()).select_from(sa.table("external_file")))
    if count:
        raise LedgerError(
            f"{count} files of external figures are imported, which the earlier schema has no place for: remove them "
            "with `carbonbudget external remove`, and import them again after the next upgrade"
        )
    for name in ("external_figure", "external_file", "external_removal"):
        op.drop_table(name)
