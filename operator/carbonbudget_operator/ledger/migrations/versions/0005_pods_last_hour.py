"""Until when a pod has facts, so that sealing need not look for them in all hours."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and fill it from the facts."""
    op.add_column("pod", sa.Column("last_hour", sa.BigInteger, nullable=False, server_default="0"))
    pod, fact = (
        sa.table("pod", sa.column("id"), sa.column("last_hour")),
        sa.table("pod_hour", *map(sa.column, ("start", "pod_id"))),
    )
    latest = sa.select(fact.c.pod_id, sa.func.max(fact.c.start).label("start")).group_by(fact.c.pod_id).subquery()
    start = sa.select(latest.c.start).where(latest.c.pod_id == pod.c.id).scalar_subquery()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.update(pod).where(pod.c.id == latest.c.pod_id).values(last_hour=latest.c.start))
    else:
        op.execute(sa.update(pod).values(last_hour=sa.func.coalesce(start, 0)))
    op.create_index("ix_pod_last_hour", "pod", ["last_hour"])
