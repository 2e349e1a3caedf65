"""Units that pods count themselves by hour, and the spans of a pod in order: what was posted costs a reader nothing."""

from itertools import groupby

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_HOUR, _HOUR_MS = 3600, 3_600_000
_MICRO, _MOST_COUNT, _MOST_MICRO = 10**6, 10**12, 2**62
_AT_ONCE = 500


def upgrade() -> None:
    """Make the indexes and the table, and fill that from the counts that are stored."""
    op.create_index("span_pod", "span", ["pod_id", "number"])
    _index_open_spans(["pod_id", "posted_at"])
    table = op.create_table(
        "posted_unit_hour",
        sa.Column("pod_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("micro", sa.BigInteger, nullable=False),
        sa.Column("counts", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_posted_unit_hour_hour", "posted_unit_hour", ["hour"])
    connection = op.get_bind()
    counts = sa.text("SELECT pod_id, name, count, start_ms, end_ms FROM unit_count ORDER BY pod_id, name")
    rows = connection.execute(counts.execution_options(yield_per=2_000))
    waiting: list[dict[str, object]] = []
    for (pod_id, name), of_name in groupby(rows, key=lambda row: (row[0], row[1])):
        hours: dict[int, list[int]] = {}
        for _, _, count, start_ms, end_ms in of_name:
            for hour, micro in _spread(count, start_ms, end_ms):
                its = hours.setdefault(hour, [0, 0])
                its[0], its[1] = min(its[0] + micro, _MOST_MICRO), its[1] + 1
        for hour, (micro, number) in hours.items():
            waiting.append({"pod_id": pod_id, "name": name, "hour": hour, "micro": micro, "counts": number})
            if len(waiting) == _AT_ONCE:
                connection.execute(sa.insert(table), waiting)
                waiting = []
    if waiting:
        connection.execute(sa.insert(table), waiting)


def downgrade() -> None:
    """Drop them: the counts themselves are stored."""
    op.drop_table("posted_unit_hour")
    op.drop_index("span_pod", "span")
    _index_open_spans(["posted_at"])


def _index_open_spans(columns: list[str]) -> None:
    """By pod: the namespaces of pods take turns where spans are folded."""
    op.drop_index("span_open", "span")
    is_open = sa.text("result IS NULL")
    op.create_index("span_open", "span", columns, sqlite_where=is_open, postgresql_where=is_open)


def _spread(count: int, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """The hours of a count with their parts in millionths, as `spread_count` makes them."""
    first, length = start_ms // _HOUR_MS * _HOUR, end_ms - start_ms
    if length <= 0:
        return [(first, _believed(count, count * _MICRO))]
    cuts = [start_ms, *range((first + _HOUR) * 1000, end_ms, _HOUR_MS), end_ms]
    upto = [count * _MICRO * (at - start_ms) // length for at in cuts]
    parts = ((at // _HOUR_MS * _HOUR, after - before) for at, before, after in zip(cuts, upto, upto[1:], strict=False))
    return [(hour, _believed(count, micro)) for hour, micro in parts if micro]


def _believed(count: int, micro: int) -> int:
    return micro if count <= _MOST_COUNT else _MOST_MICRO
