"""Windows of tracked pods, and the spans, units and progress that these pods post."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def upgrade() -> None:
    """Make the tables, empty. Pods are tracked from the next window on."""
    op.create_table(
        "tracked_pod",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cluster", sa.String(512), nullable=False),
        sa.Column("uid", sa.String(512), nullable=False),
        sa.Column("namespace", sa.String(512), nullable=False),
        sa.Column("name", sa.String(512), nullable=False, server_default=""),
        sa.Column("run", sa.String(512), nullable=False, server_default=""),
        sa.Column("posted", sa.Boolean, nullable=False),
        _count("seen_at"),
        _count("capped_at"),
        _count("active_at"),
        sa.UniqueConstraint("cluster", "uid"),
    )
    op.create_index("tracked_pod_namespace", "tracked_pod", ["namespace", "seen_at"])
    op.create_table(
        "pod_window",
        _key("start"),
        _key("pod_id"),
        sa.Column("windows", sa.Text, nullable=False),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "span",
        sa.Column("number", _ID, primary_key=True),
        _number("pod_id"),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("run", sa.String(512), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        _number("step"),
        _number("start_ms"),
        _number("end_ms"),
        *(_number(name) for name in ("cpu_us", "cpu_grown_us", "gpu_uj", "gpu_grown_uj")),
        _number("posted_at"),
        sa.Column("result", sa.LargeBinary),
        sa.UniqueConstraint("pod_id", "id"),
    )
    is_open = sa.text("result IS NULL")
    op.create_index("span_open", "span", ["posted_at"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "unit_count",
        _key("pod_id"),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(120), nullable=False),
        *(_number(name) for name in ("count", "start_ms", "end_ms")),
        sa.Column("posted_at", sa.BigInteger, nullable=False, index=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "progress_point",
        _key("pod_id"),
        sa.Column("unit", sa.String(120), primary_key=True),
        _key("done"),
        _number("total"),
        _number("at_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "posted_count",
        _key("day"),
        sa.Column("cluster", sa.String(512), primary_key=True),
        sa.Column("namespace", sa.String(512), primary_key=True),
        _count("records"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables: spans and their results are lost, no fact and no budget is."""
    for name in ("posted_count", "progress_point", "unit_count", "span", "pod_window", "tracked_pod"):
        op.drop_table(name)
