"""Sealing: makes the valued rows of an old hour final and deletes its pods.

What was allocated and valued under the policy then in force stays as it was. The node's energy stays too, so
that `ledger check` can prove that the rows add up to it.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter, ids_of
from carbonbudget_operator.ledger.labelled_units import keep_units, units_to_keep
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unreadable_rows import valid_rows
from carbonbudget_operator.ledger.workload_owners import drop_orphans
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction


class SealError(Exception):
    """An hour that cannot be sealed; one line gives the reason."""


def sealed_hours(connection: sa.Connection, cluster: str, start: int, end: int) -> dict[int, int]:
    """The derivation under which each sealed hour of [start, end) was valued."""
    c = schema.sealed_hour.c
    rows = connection.execute(
        sa.select(c.hour, c.derivation_id).where(c.cluster == cluster, c.hour >= start, c.hour < end)
    )
    return {row.hour: row.derivation_id for row in rows}


def sealed_until(connection: sa.Connection, cluster: str, start: int, end: int) -> int:
    """The end of the last sealed hour of [start, end), UTC seconds; 0 without one."""
    c = schema.sealed_hour.c
    last = connection.scalar(sa.select(sa.func.max(c.hour)).where(c.cluster == cluster, c.hour >= start, c.hour < end))
    return 0 if last is None else int(last) + HOUR


def seal_hour(
    engine: sa.Engine, cluster: str, hour: int, derivation_id: int, now: int,
    valued: Callable[[sa.Connection, int], int] | None = None,
) -> None:  # fmt: skip
    """Seal one hour whose valued rows are stored, unless another server just did or it changed meanwhile.

    `valued` gives what of the hour can be valued, for one that holds rows that cannot (`unreadable_rows.py`). What is
    added up is added up before reports have to wait, and what the hour gives up goes in small transactions after it.

    Raises:
        SealError: its rows do not hold what was measured; then nothing is changed.
    """
    with snapshot(engine) as connection:
        before = _state(connection, derivation_id, hour)
        _check(connection, cluster, hour, derivation_id, valued)
        units = units_to_keep(connection, cluster, hour)
    with write_transaction(engine, AdvisoryLock.BOOKINGS) as connection:
        if sealed_hours(connection, cluster, hour, hour + 1) or _state(connection, derivation_id, hour) != before:
            return
        connection.execute(
            sa.insert(schema.sealed_hour).values(cluster=cluster, hour=hour, derivation_id=derivation_id, sealed_at=now)
        )
        keep_units(connection, units)
    _clear(engine, cluster, hour)


def _state(connection: sa.Connection, derivation_id: int, hour: int) -> tuple[int | None, str | None]:
    """The revision of an hour's facts, and the signature of the unit that is stored for them."""
    revision, unit = schema.hour_revision.c, schema.valued_unit.c
    return (
        connection.scalar(sa.select(revision.revision).where(revision.hour == hour)),
        connection.scalar(
            sa.select(unit.signature).where(
                unit.derivation_id == derivation_id, unit.level == HOURS, unit.start == hour
            )
        ),
    )


def _check(
    connection: sa.Connection, cluster: str, hour: int, derivation_id: int,
    valued: Callable[[sa.Connection, int], int] | None,
) -> None:  # fmt: skip
    node, fact = schema.node.c, schema.node_fact.c
    rows = connection.execute(
        sa.select(fact.start, fact.node_id, fact.measured_uj)
        .join(schema.node, node.id == fact.node_id)
        .where(node.cluster == cluster, fact.start >= hour, fact.start < hour + HOUR)
    )
    measured_uj = sum(row[2] for row in valid_rows(rows, 2, "node_hour", start=0))
    valued_uj = valued_energy_uj(connection, derivation_id, hour)
    if measured_uj != valued_uj and valued is not None:
        measured_uj = valued(connection, hour)
    if measured_uj != valued_uj:
        raise SealError(f"hour {hour}: {measured_uj} uJ were measured, its rows hold {valued_uj} uJ")


def _clear(engine: sa.Engine, cluster: str, hour: int) -> None:
    """Drop the facts of pods of a sealed hour, and which windows were in."""
    node, dropper = schema.node.c, BatchDeleter(engine)
    nodes = sa.select(node.id).where(node.cluster == cluster)
    with engine.connect() as connection:
        alone = connection.scalar(sa.select(node.id).where(node.cluster != cluster).limit(1)) is None
    for table in (schema.pod_fact, schema.pod_energy):
        if alone:
            dropper.before(table, hour + HOUR, start=hour)
            continue
        pods = sa.select(schema.pod.c.id).where(schema.pod.c.node_id.in_(nodes))
        dropper.delete(
            [sa.delete(table).where(table.c.start >= hour, table.c.start < hour + HOUR, table.c.pod_id.in_(pods))]
        )
    windows = schema.node_windows.c
    dropper.delete([sa.delete(schema.node_windows).where(windows.hour == hour, windows.node_id.in_(nodes))])


def forget_pods(engine: sa.Engine, cluster: str, before: int) -> None:
    """Forget the pods that have no facts from the full hour `before` on, nor in an earlier hour that is not sealed."""
    node, pod = schema.node.c, schema.pod.c
    _clear_rest(engine, cluster, before)
    with engine.connect() as connection:
        nodes = sa.select(node.id).where(node.cluster == cluster)
        needed = [  # by hours that are not sealed
            pod.id.not_in(sa.select(table.c.pod_id).where(table.c.start < before))
            for table in (schema.pod_fact, schema.pod_energy)
        ]
        ids = ids_of(connection, sa.select(pod.id).where(pod.last_hour < before, pod.node_id.in_(nodes), *needed))
    dropper = BatchDeleter(engine)
    dropper.these(ids, lambda some: [sa.delete(schema.pod).where(pod.id.in_(some), pod.last_hour < before)])
    if before % (24 * HOUR) == 0:  # once a day: it reads all owners
        drop_orphans(engine, dropper)


def _clear_rest(engine: sa.Engine, cluster: str, before: int) -> None:
    """Clear sealed hours of which a server that ended meanwhile left something."""
    start = schema.pod_fact.c.start
    at = -1
    while True:
        with engine.connect() as connection:  # the next hour with facts of pods: by the key, however many there are
            found = connection.scalar(sa.select(sa.func.min(start)).where(start > at, start < before))
            if found is None:
                return
            hour = found - found % HOUR
            sealed = sealed_hours(connection, cluster, hour, hour + 1)
        if sealed:
            _clear(engine, cluster, hour)
        at = hour + HOUR - 1


def valued_energy_uj(connection: sa.Connection, derivation_id: int, hour: int) -> int:
    """What an hour's valued rows hold."""
    c = schema.valued_row.c
    rows = connection.execute(
        sa.select(c.dynamic_uj, c.idle_uj, c.overhead_uj).where(
            c.derivation_id == derivation_id, c.level == HOURS, c.start >= hour, c.start < hour + HOUR
        )
    )
    return sum(sum(row) for row in rows)
