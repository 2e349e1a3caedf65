"""Stores the owner of a pod's controller: a ReplicaSet's Deployment, a Job's CronJob or JobSet. Names, never facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter, ids_of
from carbonbudget_operator.ledger.bulk_rows import BulkInsert, chunks
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction


@dataclass(frozen=True, slots=True)
class WorkloadOwner:
    """The workload that people know."""

    kind: str
    name: str
    uid: str


def known_owners(engine: sa.Engine, uids: Iterable[str]) -> set[str]:
    """The controllers in `uids` whose owner is stored."""
    c = schema.owner.c
    with engine.connect() as connection:
        return {uid for part in chunks(uids) for uid in connection.scalars(sa.select(c.uid).where(c.uid.in_(part)))}


def store_owners(engine: sa.Engine, owners: Mapping[str, WorkloadOwner], hours: Iterable[int]) -> None:
    """Store the owners by their controllers' uids; the hours in which those ran are valued again."""
    with write_transaction(engine, AdvisoryLock.BOOKINGS) as connection:
        rows = BulkInsert(connection.dialect, schema.owner, ("uid", "kind", "name", "owner_uid"), ("uid",))
        rows.put(connection, ((uid, found.kind, found.name, found.uid) for uid, found in sorted(owners.items())))
        c = schema.hour_revision.c
        for part in chunks(hours):
            connection.execute(
                sa.update(schema.hour_revision)
                .where(c.hour.in_(part), c.hour.not_in(sa.select(schema.sealed_hour.c.hour)))
                .values(revision=c.revision + 1)
            )


def drop_orphans(engine: sa.Engine, dropper: BatchDeleter) -> None:
    """Forget owners of controllers whose pods are gone."""
    owner = schema.owner
    gone = ~sa.exists().where(schema.pod.c.controller_uid == owner.c.uid)
    with engine.connect() as connection:
        uids = ids_of(connection, sa.select(owner.c.uid).where(gone))
    dropper.these(uids, lambda some: [sa.delete(owner).where(owner.c.uid.in_(some), gone)])
