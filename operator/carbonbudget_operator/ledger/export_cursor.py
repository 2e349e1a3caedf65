"""The cursor of an export: which hours a target has, in which revision, and which server sends to it.

What is about to be sent is written down before it is sent. A server that ends in between leaves an hour that is not
marked as sent; whoever sends it next uses the same revision for the same figures and a higher one for others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import BulkInsert, chunks
from carbonbudget_operator.ledger.write_locks import write_transaction

LEASE_SECONDS: Final = 120
_MOST_LEASE_SECONDS: Final = 600  # a lease that ends later is of a server whose clock was wrong


class LeaseLost(Exception):
    """Another server sends to this target."""


@dataclass(frozen=True, slots=True)
class HourState:
    """What a target has of an hour, or is about to get. `version` names facts and settings, `digest` the content.

    `is_final`: the hour is sealed and sent, and changes no more.
    """

    version: str
    revision: int
    digest: str
    is_sent: bool
    is_final: bool = False


class ExportCursor:
    """The cursor of one target. `holder` names this server process."""

    def __init__(self, engine: sa.Engine, cluster: str, target: str, holder: str) -> None:
        self._engine, self._cluster, self._target, self._holder = engine, cluster, target, holder
        target_table, hour = schema.export_target, schema.export_hour
        self._put_target = BulkInsert(
            engine.dialect, target_table, ("cluster", "name", "first_hour", "holder", "lease_until"),
            ("cluster", "name"),
        )  # fmt: skip
        self._mine = (target_table.c.cluster == cluster, target_table.c.name == target)
        self._hours = (hour.c.cluster == cluster, hour.c.target == target)

    def acquire(self, now: int, first_hour: int) -> int | None:
        """The target's first hour if this server may send until LEASE_SECONDS later; None if another one sends.

        `first_hour` is the first hour of a target that is new.
        """
        c = schema.export_target.c
        free = (c.holder == self._holder) | (c.lease_until <= now) | (c.lease_until > now + _MOST_LEASE_SECONDS)
        until = now + LEASE_SECONDS
        with write_transaction(self._engine) as connection:
            taken = connection.execute(
                sa.update(schema.export_target)
                .where(*self._mine, free)
                .values(holder=self._holder, lease_until=until)
            )  # fmt: skip
            if not taken.rowcount:
                self._put_target.put(connection, [(self._cluster, self._target, first_hour, self._holder, until)])
            found = connection.execute(sa.select(c.first_hour, c.holder).where(*self._mine)).one()
        return int(found.first_hour) if found.holder == self._holder else None

    def renew(self, now: int) -> None:
        """Keep the lease. Raises LeaseLost."""
        with self._holding(now):
            pass

    def states(self, connection: sa.Connection) -> dict[int, HourState]:
        """All hours of the target."""
        c = schema.export_hour.c
        rows = connection.execute(
            sa.select(c.hour, c.version, c.revision, c.digest, c.sent, c.rows.is_(None)).where(*self._hours)
        )
        return {
            hour: HourState(version, revision, digest, bool(sent), bool(final))
            for hour, version, revision, digest, sent, final in rows
        }

    def state(self, connection: sa.Connection, hour: int) -> tuple[HourState | None, bytes | None]:
        """One hour, and of whom the target has, or may have, rows of it."""
        c = schema.export_hour.c
        found = connection.execute(
            sa.select(c.version, c.revision, c.digest, c.sent, c.rows).where(*self._hours, c.hour == hour)
        ).first()
        if found is None:
            return None, None
        return HourState(found.version, found.revision, found.digest, bool(found.sent)), found.rows

    def begin(self, hour: int, state: HourState, rows: bytes, now: int) -> None:
        """Write down what is about to be sent. Raises LeaseLost."""
        c = schema.export_hour.c
        values = {
            "version": state.version, "revision": state.revision, "digest": state.digest, "sent": state.is_sent,
            "rows": rows,
        }  # fmt: skip
        with self._holding(now) as connection:
            changed = connection.execute(
                sa.update(schema.export_hour).where(*self._hours, c.hour == hour).values(**values)
            )
            if not changed.rowcount:
                connection.execute(
                    sa.insert(schema.export_hour).values(
                        cluster=self._cluster, target=self._target, hour=hour, **values
                    )
                )

    def finish(self, hour: int, version: str, rows: bytes | None, now: int) -> None:
        """The target has the hour, under this version too. `rows` None: they are as before. Raises LeaseLost."""
        more = {} if rows is None else {"rows": rows}
        with self._holding(now) as connection:
            connection.execute(
                sa.update(schema.export_hour)
                .where(*self._hours, schema.export_hour.c.hour == hour)
                .values(version=version, sent=True, **more)
            )

    def forget(self, before: int, final: Sequence[int]) -> None:
        """Forget hours before an instant, and of whom the rows of these sealed hours are: they change no more."""
        c = schema.export_hour.c
        with write_transaction(self._engine) as connection:
            connection.execute(sa.delete(schema.export_hour).where(*self._hours, c.hour < before))
            for some in chunks(final):
                connection.execute(
                    sa.update(schema.export_hour).where(*self._hours, c.sent, c.hour.in_(some)).values(rows=None)
                )

    @contextmanager
    def _holding(self, now: int) -> Iterator[sa.Connection]:
        """A transaction in which no other server can take the lease. Raises LeaseLost."""
        with write_transaction(self._engine) as connection:
            kept = connection.execute(
                sa.update(schema.export_target)
                .where(*self._mine, schema.export_target.c.holder == self._holder)
                .values(lease_until=now + LEASE_SECONDS)
            )
            if not kept.rowcount:
                raise LeaseLost(f"another server sends to {self._target} now")
            yield connection
