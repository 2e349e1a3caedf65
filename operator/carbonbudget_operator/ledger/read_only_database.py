"""Treats a PostgreSQL that has become read-only like one that is away: after a failover it is the demoted primary.

It answers every question, and refuses every write with SQLSTATE 25006. psycopg calls that an internal error, and
nothing would end the connection: without this module the server writes to the same connection until a restart.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

AWAY: Final = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
"""Errors that concern the database as a whole and not what was to be stored: full, locked, away, or read-only."""

_READ_ONLY_SQLSTATE: Final = "25006"
_REASON: Final = (
    "the database is read-only, as a standby or a demoted primary is: name all hosts in the ledger's URL, or wait "
    "until its host name leads to the primary"
)


class ReadOnlyDatabase(sa.exc.OperationalError):
    """The database refuses to write. Its connection is ended, and so are all others of the same pool."""


def seek_primary_after_refusal(engine: sa.Engine) -> None:
    """Have a refusal to write end the connections of this engine's pool, so that the next write connects anew.

    It is raised as ReadOnlyDatabase.
    """

    @sa.event.listens_for(engine, "handle_error")
    def end_connections(context: sa.engine.ExceptionContext) -> None:
        original = context.original_exception
        if getattr(original, "sqlstate", None) == _READ_ONLY_SQLSTATE:
            context.is_disconnect = True
            raise ReadOnlyDatabase(context.statement, None, original, connection_invalidated=True)


def require_writable(engine: sa.Engine) -> None:
    """Raise ReadOnlyDatabase if the database refuses writes, and end the connections of this engine's pool.

    A failed write is seen by its sender alone. This one question finds the same for readiness without a write. SQLite
    has no such state.
    """
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        is_read_only = connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
    if is_read_only:
        engine.dispose()
        raise ReadOnlyDatabase(None, None, RuntimeError(_REASON))
