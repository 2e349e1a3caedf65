"""Forecasts of the grid's intensity that sources publish, and when they were asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def upgrade() -> None:
    """Make the tables, empty: the first round of questions fills them."""
    op.create_table(
        "grid_forecast",
        sa.Column("source", sa.String(128), primary_key=True),
        sa.Column("zone", sa.String(128), primary_key=True),
        sa.Column("basis", sa.String(16), primary_key=True),
        _key("hour"),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("mg_per_kwh", "fetched_at", "first_mg_per_kwh", "first_fetched_at")
        ),
    )
    op.create_table(
        "grid_forecast_poll",
        sa.Column("source", sa.String(128), primary_key=True),
        sa.Column("zone", sa.String(128), primary_key=True),
        _count("polled_at"),
        _count("good_at"),
        sa.Column("error", sa.String(512), nullable=False, server_default=""),
    )


def downgrade() -> None:
    """Drop the tables: expectations go back to the mean of past weeks."""
    op.drop_table("grid_forecast_poll")
    op.drop_table("grid_forecast")
