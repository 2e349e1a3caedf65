"""One snapshot of the ledger for several questions, each of which sees everything that was stored before it was asked.

While many people ask, questions wait for their turn, and all that waited can be answered from one snapshot: what is
made of an open hour, which every report changes, is then made once for them. A question that did not wait gets a new
one. One that takes minutes does not share: it reads hour by hour, each in a snapshot of its own.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

import sqlalchemy as sa

_OPTION: Final = "shared_snapshot"


def begin_snapshot(engine: sa.Engine) -> sa.Connection:
    """A connection whose questions all see the ledger as it was at the first of them, whatever is booked meanwhile."""
    if engine.dialect.name == "postgresql":
        return engine.connect().execution_options(isolation_level="REPEATABLE READ")
    connection = engine.connect()
    try:
        connection.exec_driver_sql("BEGIN")  # SQLite's driver begins only before a statement that writes
    except BaseException:
        connection.close()
        raise
    return connection


class SharedSnapshot:
    """The snapshot that `ledger_engine.snapshot` gives out for an engine. One thread uses it."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._connection: sa.Connection | None = None
        self._begun_at, self._is_shared = 0.0, False
        engine.update_execution_options(**{_OPTION: self})

    @staticmethod
    def of(engine: sa.Engine) -> SharedSnapshot | None:
        """The engine's shared snapshot, if it has one and the present question shares it."""
        found = engine.get_execution_options().get(_OPTION)
        return found if isinstance(found, SharedSnapshot) and found._is_shared else None

    @property
    def is_open(self) -> bool:
        """Whether a snapshot is there, so that the database keeps what it shows."""
        return self._connection is not None

    def begin_question(self, asked_at: float, is_shared: bool = True) -> None:
        """End a snapshot that began before the question was asked, or if the question does not share it.

        `asked_at` is an instant of time.monotonic(), which all processes of a machine share.
        """
        if self._begun_at < asked_at or not is_shared:
            self.end()
        self._is_shared = is_shared

    def connection(self) -> sa.Connection:
        """The snapshot's connection. Raises SQLAlchemyError."""
        if self._connection is None:
            begun_at = time.monotonic()  # before the first read: the snapshot is never older than this
            self._connection = begin_snapshot(self.engine)
            self._begun_at = begun_at
        return self._connection

    def end(self) -> None:
        """End the snapshot, if there is one: at the latest after an error, and when no question waits."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sa.exc.SQLAlchemyError:  # the database has ended it
                with suppress(sa.exc.SQLAlchemyError):
                    connection.invalidate()
                    connection.close()
