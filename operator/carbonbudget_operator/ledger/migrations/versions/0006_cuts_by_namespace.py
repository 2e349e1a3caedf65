"""Cuts belong to namespaces, facts of nodes are of whole hours, and upkeep finds what it drops by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_HOUR = 3600
_NODE_KEYS = ("node_id", "domain", "method", "boundary")
_NODE_COUNTS = ("duration_ms", "measured_uj", "idle_uj", "system_uj", "unseen_uj", "low_uj", "high_uj")


def upgrade() -> None:
    """Former cuts split the facts of all namespaces; those of time to come are asked for anew."""
    old = sa.table("cut", sa.column("at"))
    span = sa.table("node_span", sa.column("last_end"))
    latest = sa.select(sa.func.coalesce(sa.func.max(span.c.last_end), 0)).scalar_subquery()
    former = list(op.get_bind().scalars(sa.select(old.c.at).where(old.c.at <= latest)))
    op.drop_table("cut")
    new = op.create_table(
        "cut",
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("namespace", sa.String(512), primary_key=True, server_default="*"),
    )
    op.bulk_insert(new, [{"at": at} for at in former])
    _join_node_facts()
    op.create_index("ix_pod_node_id", "pod", ["node_id"])
    op.create_index("ix_pod_controller_uid", "pod", ["controller_uid"])


def _join_node_facts() -> None:
    """The slices of a node's hour become one row: pods' facts alone are split from now on."""
    fact = sa.table("node_hour", *map(sa.column, ("start", *_NODE_KEYS, *_NODE_COUNTS)))
    connection = op.get_bind()
    hour = fact.c.start - fact.c.start % _HOUR
    for at in list(connection.scalars(sa.select(hour).where(fact.c.start % _HOUR != 0).distinct())):
        inside = sa.and_(fact.c.start >= at, fact.c.start < at + _HOUR)
        sums: dict[tuple[object, ...], list[int]] = {}
        sound = True
        columns = [fact.c[name] for name in (*_NODE_KEYS, *_NODE_COUNTS)]
        for row in connection.execute(sa.select(*columns).where(inside)):
            keys, counts = row[: len(_NODE_KEYS)], row[len(_NODE_KEYS) :]
            sound = sound and all(type(count) is int for count in counts)
            former = sums.setdefault(tuple(keys), [0] * len(counts))
            sums[tuple(keys)] = [a + b for a, b in zip(former, counts, strict=True)] if sound else former
        # What no column can hold, or is no number, stays as it is: readers of an hour add up its rows.
        if sound and all(max(counts) < 2**63 for counts in sums.values()):
            connection.execute(sa.delete(fact).where(inside))
            names = ("start", *_NODE_KEYS, *_NODE_COUNTS)
            op.bulk_insert(fact, [dict(zip(names, (at, *keys, *counts), strict=True)) for keys, counts in sums.items()])
