"""Sealing: an hour that is old enough keeps its valued rows for good and gives up its pods.

What was allocated and valued under the policy then in force stays as it was. The node's energy stays too, so
that `ledger check` can prove that the rows add up to it.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.book import lock_bookings
from carbonbudget_operator.ledger.derived import HOURS
from carbonbudget_operator.ledger.owners import drop_orphans
from carbonbudget_operator.ledger.slices import HOUR
from carbonbudget_operator.ledger.sound import sound_rows


class SealError(Exception):
    """An hour that cannot be sealed; one line says why."""


def sealed_hours(connection: sa.Connection, cluster: str, start: int, end: int) -> dict[int, int]:
    """The derivation under which each sealed hour of [start, end) was valued."""
    c = schema.sealed_hour.c
    rows = connection.execute(
        sa.select(c.hour, c.derivation_id).where(c.cluster == cluster, c.hour >= start, c.hour < end)
    )
    return {row.hour: row.derivation_id for row in rows}


def seal_hour(
    engine: sa.Engine, cluster: str, hour: int, derivation_id: int, now: int,
    valued: Callable[[sa.Connection, int], int] | None = None,
) -> None:  # fmt: skip
    """Seal one hour whose valued rows are kept, unless another server just did.

    `valued` gives what of the hour can be valued, for one that holds rows that cannot (`sound.py`).

    All reports wait meanwhile: what is deleted is deleted by the hour, in as many statements as there are tables.

    Raises:
        SealError: its rows do not hold what was measured; then nothing is changed.
    """
    node, fact = schema.node.c, schema.node_fact.c
    with engine.begin() as connection:
        lock_bookings(connection)
        if sealed_hours(connection, cluster, hour, hour + 1):
            return
        rows = connection.execute(
            sa.select(fact.start, fact.node_id, fact.measured_uj)
            .join(schema.node, node.id == fact.node_id)
            .where(node.cluster == cluster, fact.start >= hour, fact.start < hour + HOUR)
        )
        measured_uj = sum(row[2] for row in sound_rows(rows, 2, "node_hour", start=0))
        valued_uj = valued_energy_uj(connection, derivation_id, hour)
        if measured_uj != valued_uj and valued is not None:
            measured_uj = valued(connection, hour)
        if measured_uj != valued_uj:
            raise SealError(f"hour {hour}: {measured_uj} uJ were measured, its rows hold {valued_uj} uJ")
        connection.execute(
            sa.insert(schema.sealed_hour).values(cluster=cluster, hour=hour, derivation_id=derivation_id, sealed_at=now)
        )
        nodes = sa.select(node.id).where(node.cluster == cluster)
        pods = sa.select(schema.pod.c.id).where(schema.pod.c.node_id.in_(nodes))
        alone = connection.scalar(sa.select(node.id).where(node.cluster != cluster).limit(1)) is None
        for table in (schema.pod_fact, schema.pod_energy):
            statement = sa.delete(table).where(table.c.start >= hour, table.c.start < hour + HOUR)
            connection.execute(statement if alone else statement.where(table.c.pod_id.in_(pods)))
        windows = schema.node_windows.c
        connection.execute(sa.delete(schema.node_windows).where(windows.hour == hour, windows.node_id.in_(nodes)))


def forget_pods(engine: sa.Engine, cluster: str, before: int) -> None:
    """Forget the pods that have no facts from the full hour `before` on, nor in an earlier hour that is not sealed."""
    node, pod = schema.node.c, schema.pod.c
    with engine.begin() as connection:
        lock_bookings(connection)
        nodes = sa.select(node.id).where(node.cluster == cluster)
        # Sealed hours have no facts of pods any more.
        needed = [
            pod.id.not_in(sa.select(table.c.pod_id).where(table.c.start < before))
            for table in (schema.pod_fact, schema.pod_energy)
        ]
        connection.execute(sa.delete(schema.pod).where(pod.last_hour < before, pod.node_id.in_(nodes), *needed))
        if before % (24 * HOUR) == 0:  # once a day: it reads all pods
            drop_orphans(connection)


def valued_energy_uj(connection: sa.Connection, derivation_id: int, hour: int) -> int:
    """What an hour's valued rows hold."""
    c = schema.valued_row.c
    rows = connection.execute(
        sa.select(c.dynamic_uj, c.idle_uj, c.overhead_uj).where(
            c.derivation_id == derivation_id, c.level == HOURS, c.start >= hour, c.start < hour + HOUR
        )
    )
    return sum(sum(row) for row in rows)
