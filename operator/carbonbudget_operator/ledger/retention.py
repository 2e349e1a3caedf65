"""What the ledger forgets: time beyond retention, and what was kept under settings that are no longer in force."""

from __future__ import annotations

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.book import lock_bookings

_UNITS_AT_ONCE = 100
_DAY = 86_400


def drop_before(engine: sa.Engine, instant: int) -> bool:
    """Forget the oldest day that lies before a full hour; whether there was any.

    A day at a time: reports wait for no more than that.
    """
    hour = schema.hour_revision.c.hour
    with engine.connect() as connection:  # asked for often: what follows reads whole tables
        oldest = connection.scalar(sa.select(sa.func.min(hour)).where(hour < instant))
    if oldest is None:
        return False
    instant = min(instant, oldest - oldest % _DAY + _DAY)
    with engine.begin() as connection:
        lock_bookings(connection)
        for table, column in (
            (schema.node_fact, "start"), (schema.pod_fact, "start"), (schema.pod_energy, "start"),
            (schema.node_windows, "hour"), (schema.hour_revision, "hour"), (schema.sealed_hour, "hour"),
            (schema.valued_unit, "end"), (schema.cut, "at"), (schema.grid_hour, "hour"), (schema.node_listed, "until"),
        ):  # fmt: skip
            limit = instant + 1 if column == "end" else instant
            connection.execute(sa.delete(table).where(table.c[column] < limit))
        c = schema.valued_row.c
        connection.execute(sa.delete(schema.valued_row).where(c.end <= instant))
        _drop_nodes(connection, instant)
    return True


def _drop_nodes(connection: sa.Connection, instant: int) -> None:
    """Forget the nodes that have reported nothing since, and pods without facts; all facts before it are gone.

    A server that remembers such a node's id (it remembers those of an hour) learns it anew with the first new pod,
    whose foreign key refuses the former one.
    """
    node, pod, span = schema.node.c, schema.pod.c, schema.node_span.c
    connection.execute(sa.delete(schema.pod).where(pod.last_hour < instant))
    gone = sa.select(span.node_id).where(span.last_end <= instant).scalar_subquery()
    with_pods = sa.select(pod.node_id).scalar_subquery()
    connection.execute(sa.delete(schema.node).where(node.id.in_(gone), node.id.not_in(with_pods)))
    left = sa.select(node.id).scalar_subquery()
    connection.execute(sa.delete(schema.node_span).where(span.last_end <= instant, span.node_id.not_in(left)))


def drop_former(engine: sa.Engine, derivation_id: int) -> int:
    """Forget some units of other derivations than this one; how many. What hours were sealed with stays."""
    unit, row, derivation = schema.valued_unit.c, schema.valued_row.c, schema.derivation.c
    with engine.begin() as connection:
        sealed = set(connection.scalars(sa.select(schema.sealed_hour.c.derivation_id).distinct()))
        keep = sorted(sealed | {derivation_id})
        found = connection.execute(
            sa.select(unit.derivation_id, unit.level, unit.start, unit.end)
            .where(unit.derivation_id.not_in(keep))
            .limit(_UNITS_AT_ONCE)
        ).all()
        for its, level, start, end in found:
            connection.execute(
                sa.delete(schema.valued_row).where(
                    row.derivation_id == its, row.level == level, row.start >= start, row.start < end
                )
            )
            connection.execute(
                sa.delete(schema.valued_unit).where(unit.derivation_id == its, unit.level == level, unit.start == start)
            )
        if not found:
            connection.execute(sa.delete(schema.derivation).where(derivation.id.not_in(keep)))
        return len(found)
