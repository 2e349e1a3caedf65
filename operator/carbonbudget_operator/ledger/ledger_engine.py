"""Opens the ledger: the database engine, settings of its connections, snapshots, and its errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import Connection as SQLiteConnection
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from carbonbudget_operator.ledger.read_only_database import seek_primary_after_refusal
from carbonbudget_operator.ledger.shared_snapshot import SharedSnapshot, begin_snapshot
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, OtherSchema

_READERS = 2  # connections of a worker process: its shared snapshot, and one that an answer opens beside it
_POOL_SECONDS = 10  # for a connection that others of the same pool use: a caller gets its answer before it gives up
# A server that is gone without a word is noticed: by default a connection waits for a quarter of an hour.
_POSTGRES = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}  # fmt: skip
# Of several hosts the primary is found, and a connection to a demoted one is refused when it is opened. Readers of the
# server have it too: a standby lags, and an answer must contain what its asker has seen stored.
_PRIMARY = {"target_session_attrs": "read-write"}
_STATEMENT_SECONDS = "statement_seconds"
_WRONG_URL = (
    "the ledger's URL is not of the form sqlite:////PATH or postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE; "
    "in USER and PASSWORD write % as %25, @ as %40, : as %3A and / as %2F"
)


class LedgerError(Exception):
    """The ledger cannot be used; one line gives the reason and what to do.

    `wrong_use`: what is given names no ledger that could be used, so that trying again does not help.
    """

    wrong_use = False


class LedgerReplaced(LedgerError):
    """The ledger has the schema of another version. The sentence is for whoever asked, too."""


class WrongLedger(LedgerError):
    """The URL, the file or the revision that is given is wrong, so trying again cannot help."""

    wrong_use = True


def open_ledger(url: str, connections: int | None = None, may_be_standby: bool = False) -> sa.Engine:
    """An engine for the ledger at a SQLAlchemy URL. Nothing is read or made yet.

    `connections` is how many it opens at most (of a database in memory: one a thread, and it must be None). Who waits
    for one of them is refused after 10 seconds with SQLAlchemy's TimeoutError.

    `may_be_standby`: nothing is written, so a PostgreSQL that is read-only will do. People's reading commands have it,
    to spare the primary or while there is none.

    Raises:
        WrongLedger: the URL is none, or names a database that is not supported. Its password is not repeated.
    """
    if not url.isprintable():
        raise WrongLedger(_WRONG_URL)
    bound: dict[str, object] = {} if connections is None else {
        "pool_size": connections, "max_overflow": 0, "pool_timeout": _POOL_SECONDS
    }  # fmt: skip
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "postgresql":  # what the URL says comes first
            wanted = _POSTGRES if may_be_standby else _POSTGRES | _PRIMARY
            more = {key: str(value) for key, value in wanted.items() if key not in parsed.query}
            parsed = parsed.update_query_dict(more)
            bound["isolation_level"] = "READ COMMITTED"  # the fence of `write_locks.py` reads after it has its lock
        engine = sa.create_engine(parsed, pool_pre_ping=True, **bound)
    except (sa.exc.NoSuchModuleError, ImportError):
        scheme = url.partition(":")[0]
        raise WrongLedger(f"ledger on {scheme!r} is not supported: use sqlite or postgresql+psycopg") from None
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number. Its text may hold the password.
        raise WrongLedger(_WRONG_URL) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
    elif engine.dialect.name != "postgresql":
        raise WrongLedger(f"ledger on {engine.dialect.name} is not supported: use sqlite or postgresql")
    else:
        seek_primary_after_refusal(engine)
    return engine


def hold_as_server(engine: sa.Engine) -> None:
    """Have each connection of a server's engine hold the lock of servers, so that no downgrade runs beside it.

    It holds the lock as long as it is open, so a connection that is opened anew needs nothing else. During a downgrade,
    opening one waits until that is over. SQLite has nothing like it.
    """
    if engine.dialect.name == "postgresql":
        statement = f"SELECT pg_advisory_lock_shared({AdvisoryLock.SERVERS:d})"
        sa.event.listen(engine, "connect", lambda connection, _: _set(connection, statement))


def _set_up_sqlite(connection: SQLiteConnection, _record: object) -> None:
    # WAL lets readers go on while the one writer commits; FULL makes a commit survive a power cut.
    # 32 MiB of pages: long questions read the same ones again.
    for pragma in (
        "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000", "cache_size=-32768",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def read_only(engine: sa.Engine, statement_seconds: float) -> sa.Engine:
    """An engine of this ledger whose connections cannot write; `bound_statements` can change the limit later."""
    if engine.dialect.name == "sqlite":
        path = f"file:{quote(engine.url.database or '')}"
        url = engine.url.set(database=path).update_query_dict({"mode": "ro", "uri": "true"})
        made = sa.create_engine(url, pool_size=_READERS, max_overflow=0, pool_timeout=_POOL_SECONDS)
        sa.event.listen(made, "connect", _set_up_reading_sqlite)
        return made
    made = sa.create_engine(
        engine.url, pool_pre_ping=True, pool_size=_READERS, max_overflow=0, pool_timeout=_POOL_SECONDS
    )
    sa.event.listen(made, "connect", lambda connection, _: _set(connection, "SET default_transaction_read_only = on"))
    bound_statements(made, statement_seconds)
    return made


def bound_statements(engine: sa.Engine, seconds: float) -> None:
    """Have PostgreSQL end each statement of this engine after `seconds`. A second call changes the limit.

    It takes effect when a connection is next taken from the pool. PostgreSQL 14 and later also ends a statement within
    two seconds after the process that sent it has ended. SQLite runs statements in the process itself: nothing is set.
    """
    if engine.dialect.name != "postgresql":
        return
    is_first = _STATEMENT_SECONDS not in engine.get_execution_options()
    engine.update_execution_options(**{_STATEMENT_SECONDS: seconds})
    if not is_first:
        return

    def set_limit(connection: Any, record: Any, _proxy: object) -> None:
        milliseconds = int(engine.get_execution_options()[_STATEMENT_SECONDS] * 1000)
        if record.info.get(_STATEMENT_SECONDS) != milliseconds:
            _set(
                connection,
                f"SET statement_timeout = {milliseconds}",
                "SELECT set_config(name, '2000', false) FROM pg_settings "
                "WHERE name = 'client_connection_check_interval'",
            )
            record.info[_STATEMENT_SECONDS] = milliseconds

    sa.event.listen(engine, "checkout", set_limit)


def _set(connection: Any, *statements: str) -> None:
    connection.autocommit = True  # a setting made in a transaction is lost when it is rolled back
    for statement in statements:
        connection.execute(statement)
    connection.autocommit = False


def _set_up_reading_sqlite(connection: SQLiteConnection, _record: object) -> None:
    for pragma in ("query_only=ON", "busy_timeout=10000", "cache_size=-16384"):
        connection.execute(f"PRAGMA {pragma}")


def silence(engine: sa.Engine) -> LedgerError:
    """The error for every caller that waits for a ledger that does not answer."""
    return LedgerError(
        f"ledger {printable_url(engine)}: the database does not answer: nothing is lost, try again later"
    )


def printable_url(engine: sa.Engine) -> str:
    """The ledger's URL for people: without its password, and without options, which may hold one too."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose questions all see the ledger as it was at the first of them, whatever is booked meanwhile.

    Of an engine with a SharedSnapshot it is that one's, which stays open.
    """
    shared = SharedSnapshot.of(engine)
    if shared is not None:
        yield shared.connection()
        return
    with begin_snapshot(engine) as connection:
        yield connection


@contextmanager
def ledger_errors(engine: sa.Engine) -> Iterator[None]:
    """Turn an error of the database inside into a LedgerError of one line."""
    try:
        yield
    except OtherSchema as error:
        raise LedgerReplaced(reason_of(error)) from None
    except sa.exc.SQLAlchemyError as error:
        raise LedgerError(f"ledger {printable_url(engine)}: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """The message of a database's error, in one line."""
    if isinstance(error, sa.exc.TimeoutError):
        return "all connections of this kind of work are in use"
    return first_line(error)


def first_line(error: Exception) -> str:
    """The first line of the database's own message, else of the error."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]
