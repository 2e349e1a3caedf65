"""Begins the transactions that write to the ledger, and has its locks. There is no other way to begin one.

On SQLite one transaction writes at a time. On PostgreSQL several servers write, so each transaction takes the lock of
what it changes, and none writes to a schema that its version does not know: during a rolling update servers of two
versions run, and the first new one migrates the ledger. What an older one writes then would lack what only the new
schema has, and nothing would show it. So each transaction that writes first shares the migration's lock, and then
compares the schema, which stays until the transaction ends. SQLite does not need that: one process uses the file, and
the chart ends it before the next one starts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

import sqlalchemy as sa


class AdvisoryLock(IntEnum):
    """PostgreSQL's advisory locks of a ledger, and what each protects. All versions must use the same numbers."""

    BOOKINGS = 0x6362_0001
    """Facts of node reports. Bookings share it; what cuts, seals, deletes or restates hours has it alone."""
    MIGRATION = 0x6362_0002
    """The schema. Transactions that write share it, a migration has it alone."""
    VALUED_UNITS = 0x6362_0003
    """Stored valued units: several servers make the same ones."""
    SERVERS = 0x6362_0004
    """Who uses the ledger. Each connection of a server shares it while it is open, a downgrade has it alone."""
    EXTERNAL_FILES = 0x6362_0013
    """Imported files, none of which overlaps another."""
    READ_TOKENS = 0x6362_0014
    """The number of read tokens, which is limited."""
    ADJUSTMENTS = 0x6362_0018
    """Adjustments of limits, each of which is booked once."""
    POSTED_UNITS = 0x6362_0021
    """Counts that pods post, each of which is added to its hours once."""


# In one round trip. The schema is read by a statement of its own, whose snapshot is newer than the lock. The lock is
# not waited for, because a migration may take minutes: the sender keeps what it has and comes again.
_FENCE: Final = (
    f"SELECT pg_try_advisory_xact_lock_shared({AdvisoryLock.MIGRATION:d})",
    "SELECT version_num FROM alembic_version",
)


class OtherSchema(sa.exc.OperationalError):
    """The ledger has not the schema of this version, or is being migrated; nothing is stored.

    It is an error of the database as a whole (`AWAY`), so that senders keep what they have.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(None, None, RuntimeError(reason))


@contextmanager
def write_transaction(
    engine: sa.Engine, lock: AdvisoryLock | None = None, shared: bool = False
) -> Iterator[sa.Connection]:
    """A transaction that may write; it is committed at the end. `lock` is held until then, `shared` with others.

    Raises:
        OtherSchema: on PostgreSQL, the ledger has not the schema of this version, or is being migrated.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            how = "_shared" if shared else ""
            _fence(connection, *(() if lock is None else (f"SELECT pg_advisory_xact_lock{how}({lock:d})",)))
        else:
            begin_immediate(connection)
        yield connection


def begin_immediate(connection: sa.Connection) -> None:
    """Begin a transaction that writes on SQLite, and wait for others to end.

    Its driver would begin before the first statement that changes rows. Earlier reads could then be out of date, and
    tables would be made outside of the transaction.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def lock_alone(connection: sa.Connection, lock: AdvisoryLock, wait: bool = True) -> bool:
    """Take a lock of PostgreSQL until the transaction ends; False if it is in use and not waited for."""
    if wait:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(int(lock))))
        return True
    return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(int(lock)))))


def require_own_schema(engine: sa.Engine) -> None:
    """Raise OtherSchema unless a transaction that writes could begin. On SQLite it always can."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            _fence(connection)


def _fence(connection: sa.Connection, *then: str) -> None:
    """Require the schema of this version until the transaction ends. `then` are statements of the same round trip."""
    result = connection.exec_driver_sql("; ".join((*_FENCE, *then)))
    cursor = result.cursor
    assert cursor is not None
    is_locked = cursor.fetchone() == (True,)
    cursor.nextset()
    row = cursor.fetchone()
    result.close()
    if not is_locked:
        raise OtherSchema("the ledger's schema is being changed: try again later")
    found, own = row[0] if row else "none", _own_schema()
    if found != own:
        raise OtherSchema(
            f"the ledger has another schema ({found}, and this server has {own}): this server is being replaced, try "
            "again later"
        )


@functools.cache
def _own_schema() -> str:
    # Imported here, because the processes that only read need no Alembic.
    from carbonbudget_operator.ledger.schema_revisions import revisions

    return revisions()[0]
