"""Deletes many rows in small transactions, so that no report waits for longer than one of them takes.

The rows are found by the primary key, or outside of the transaction. After each transaction the ledger is free for at
least as long as it was locked, because a writer that waits for SQLite's lock tries again only now and then.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction

_ROWS = 2_000  # some 10 ms
_IDS = 200
_LEAST_PAUSE_SECONDS = 0.05


def ids_of(connection: sa.Connection, query: sa.Select[Any]) -> list[Any]:
    """The first column of all rows, some thousands at a time: between them other threads have their turn."""
    rows = connection.execute(query.execution_options(yield_per=_ROWS))
    return [row[0] for part in rows.partitions() for row in part]


class DeletionUnfinished(Exception):
    """The time is used up. The next call deletes the rest."""


class BatchDeleter:
    """Deletes from one ledger, for `seconds` at most: other upkeep waits meanwhile."""

    def __init__(
        self, engine: sa.Engine, seconds: float = math.inf, rest: Callable[[float], object] = time.sleep
    ) -> None:
        self._engine, self._until, self._rest = engine, time.monotonic() + seconds, rest

    def before(
        self, table: sa.Table, limit: int, start: int = 0, prefix: Mapping[str, object] | None = None,
        only: Sequence[sa.ColumnElement[bool]] = (),
    ) -> None:  # fmt: skip
        """Delete rows whose time lies in [start, limit), the first ones first, as long as `only` holds.

        The time is the first column of the primary key that `prefix` does not fix. Raises DeletionUnfinished.
        """
        fixed = prefix or {}
        keys = [column for column in table.primary_key if column.name not in fixed]
        within = [*(table.c[name] == value for name, value in fixed.items()), keys[0] >= start]
        next_one = sa.select(*keys).where(*within, keys[0] < limit).order_by(*keys).offset(_ROWS).limit(1)
        while True:
            with self._engine.connect() as connection:
                border = connection.execute(next_one).first()
                if border is None and not connection.scalar(sa.select(sa.exists().where(*within, keys[0] < limit))):
                    return
            # One upper bound alone: beside another one SQLite would read the whole of the first column's value.
            upto = keys[0] < limit if border is None else sa.tuple_(*keys) < sa.tuple_(*border)
            if not self.delete([sa.delete(table).where(*within, upto, *only)]) or border is None:
                return

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> None:
        """Delete the rows that match, which an index finds. Raises DeletionUnfinished.

        For tables whose key does not begin with the time: an hour's rows may be as many as pods posted.
        """
        keys = list(table.primary_key)
        one = sa.delete(table).where(*(key == sa.bindparam(f"its_{key.name}") for key in keys))
        some = sa.select(*(key.label(f"its_{key.name}") for key in keys)).where(*where).limit(_ROWS)
        while True:
            with self._engine.connect() as connection:
                found = [dict(row._mapping) for row in connection.execute(some)]
            if not found:
                return
            self._run(functools.partial(_each, one, found))

    def these(self, ids: Iterable[object], statements: Callable[[Sequence[object]], Sequence[sa.Delete]]) -> None:
        """Run `statements` for some ids at a time; they check their conditions again. Raises DeletionUnfinished."""
        for some in chunks(ids, _IDS):
            self.delete(statements(some))

    def delete(self, statements: Sequence[sa.Delete]) -> int:
        """One transaction; how many rows went. Raises DeletionUnfinished before it if the time is used up."""
        return self._run(lambda connection: sum(connection.execute(statement).rowcount for statement in statements))

    def _run(self, work: Callable[[sa.Connection], int]) -> int:
        if time.monotonic() > self._until:
            raise DeletionUnfinished
        with write_transaction(self._engine, AdvisoryLock.BOOKINGS) as connection:
            began = time.monotonic()
            deleted = work(connection)
        self._rest(max(_LEAST_PAUSE_SECONDS, 2 * (time.monotonic() - began)))
        return deleted


def _each(one: sa.Delete, rows: Sequence[Mapping[str, object]], connection: sa.Connection) -> int:
    return connection.execute(one, list(rows)).rowcount
