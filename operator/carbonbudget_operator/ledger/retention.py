"""Deletes what is past retention, and what was stored under settings that are no longer in force."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter, ids_of
from carbonbudget_operator.ledger.booked_adjustments import drop_adjustments_before
from carbonbudget_operator.ledger.external_figure_store import drop_external_before
from carbonbudget_operator.ledger.kept_unit_table import kept_units
from carbonbudget_operator.ledger.stored_units import STORED_LEVELS
from carbonbudget_operator.ledger.unit_store import drop_units_before

_FOR_EVER = 2**62
# The hours' revisions first; facts of pods before those of nodes, which have the cluster of an hour.
_BY_TIME = (
    schema.hour_revision, schema.pod_fact, schema.pod_energy, schema.node_windows, schema.node_fact, schema.cut,
)  # fmt: skip


def nothing_before(connection: sa.Connection, instant: int) -> bool:
    """Whether no table that is read by time holds anything that lies before a full hour."""
    times = [next(iter(table.primary_key)) for table in _BY_TIME]
    return not any(connection.scalar(sa.select(sa.exists().where(column < instant))) for column in times)


def drop_before(engine: sa.Engine, instant: int, dropper: BatchDeleter) -> None:
    """Forget what lies before a full hour. What was interrupted goes on when it is called again.

    The hours' revisions go first: no question reads an hour without one, so that nobody sees half of an hour.

    Raises:
        DeletionUnfinished: the dropper's time is used up.
    """
    for table in _BY_TIME:
        dropper.before(table, instant)
    with engine.connect() as connection:
        clusters = connection.scalars(sa.select(schema.sealed_hour.c.cluster).distinct()).all()
        counted = connection.scalars(sa.select(schema.node_count.c.cluster).distinct()).all()
        derivations = connection.scalars(sa.select(schema.derivation.c.id)).all()
        counters = connection.scalars(sa.select(kept_units.c.counter_id).distinct()).all()
        grid = schema.grid_hour.c
        series = connection.execute(sa.select(grid.source, grid.zone, grid.basis).distinct()).all()
    for cluster in clusters:
        dropper.before(schema.sealed_hour, instant, prefix={"cluster": cluster})
    for cluster in counted:
        dropper.before(schema.node_count, instant, prefix={"cluster": cluster})
    for counter_id in counters:
        dropper.before(kept_units, instant, prefix={"counter_id": counter_id})
    for source, zone, basis in series:
        dropper.before(schema.grid_hour, instant, prefix={"source": source, "zone": zone, "basis": basis})
    for derivation_id in derivations:
        for level in STORED_LEVELS:
            with engine.connect() as connection:
                limit = _whole_units(connection, derivation_id, level, instant)
            _drop_units(dropper, derivation_id, level, limit)
    _drop_nodes(engine, dropper, instant)
    drop_external_before(engine, instant, dropper)
    drop_units_before(engine, instant, dropper)
    drop_adjustments_before(engine, instant, dropper)


def _whole_units(connection: sa.Connection, derivation_id: int, level: int, instant: int) -> int:
    """The instant, or the start of the unit that it lies inside: that one stays."""
    c = schema.valued_unit.c
    last = connection.execute(
        sa.select(c.start, c.end)
        .where(c.derivation_id == derivation_id, c.level == level, c.start < instant)
        .order_by(c.start.desc())
        .limit(1)
    ).first()
    return instant if last is None or last.end <= instant else int(last.start)


def _drop_units(
    dropper: BatchDeleter, derivation_id: int, level: int, limit: int, only: Sequence[sa.ColumnElement[bool]] = ()
) -> None:
    """Units before their rows: a unit that is not there is made of facts, one without rows would say nothing was."""
    prefix = {"derivation_id": derivation_id, "level": level}
    dropper.before(schema.valued_unit, limit, prefix=prefix, only=only)
    dropper.before(schema.valued_row, limit, prefix=prefix, only=only)


def _drop_nodes(engine: sa.Engine, dropper: BatchDeleter, instant: int) -> None:
    """Forget the nodes that have reported nothing since, and pods without facts; all facts before it are gone.

    A server that remembers such a node's id (it remembers those of an hour) learns it anew with the first new pod,
    whose foreign key rejects the earlier one.
    """
    node, pod, span, listed = schema.node, schema.pod, schema.node_span, schema.node_listed
    with engine.connect() as connection:
        pods = ids_of(connection, sa.select(pod.c.id).where(pod.c.last_hour < instant))
        nodes = ids_of(connection, sa.select(span.c.node_id).where(span.c.last_end <= instant))
        uids = ids_of(connection, sa.select(listed.c.uid).where(listed.c.until < instant))
    dropper.these(pods, lambda ids: [sa.delete(pod).where(pod.c.id.in_(ids), pod.c.last_hour < instant)])
    silent = span.c.last_end <= instant
    dropper.these(
        nodes,
        lambda ids: [
            sa.delete(node).where(
                node.c.id.in_(sa.select(span.c.node_id).where(span.c.node_id.in_(ids), silent)),
                ~sa.exists().where(pod.c.node_id == node.c.id),
            ),
            sa.delete(span).where(span.c.node_id.in_(ids), silent, ~sa.exists().where(node.c.id == span.c.node_id)),
        ],
    )
    dropper.these(uids, lambda some: [sa.delete(listed).where(listed.c.uid.in_(some), listed.c.until < instant)])


def drop_earlier_derivations(engine: sa.Engine, derivation_id: int, dropper: BatchDeleter) -> None:
    """Drop the units of other derivations. What hours were sealed with stays. Raises DeletionUnfinished."""
    derivation = schema.derivation
    with engine.connect() as connection:
        earlier = connection.scalars(
            sa.select(derivation.c.id).where(derivation.c.id != derivation_id, _unsealed(derivation.c.id))
        ).all()
    for its in earlier:
        for level in STORED_LEVELS:
            _drop_units(dropper, its, level, _FOR_EVER, [_unsealed(its)])
    dropper.these(
        earlier, lambda ids: [sa.delete(derivation).where(derivation.c.id.in_(ids), _unsealed(derivation.c.id))]
    )


def _unsealed(derivation_id: sa.ColumnElement[int] | int) -> sa.ColumnElement[bool]:
    """Whether no hour was sealed under a derivation. Another server with earlier settings may still seal one."""
    return ~sa.exists().where(schema.sealed_hour.c.derivation_id == derivation_id)
