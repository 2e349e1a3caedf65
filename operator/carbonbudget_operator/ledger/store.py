"""Opens the ledger: the database engine, SQLite's settings, and the schema's migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import SQLITE_CANTOPEN, SQLITE_NOTADB
from sqlite3 import Connection as SQLiteConnection
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from carbonbudget_operator.ledger.shared_snapshot import SharedSnapshot, begin_snapshot

_MIGRATE_LOCK = 0x6362_0002
# Schemas before this one cannot be gone back to: 0006 joined rows that no downgrade could part again.
OLDEST_SCHEMA = "0008"
_READERS = 2  # connections of a worker process: its shared snapshot, and one that an answer opens beside it
_POOL_SECONDS = 10  # for a connection that others of the same pool use: a caller gets its answer before it gives up
# A server that is gone without a word is noticed: by default a connection waits for a quarter of an hour.
_POSTGRES = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}  # fmt: skip
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


class WrongLedger(LedgerError):
    """The URL, the file or the revision that is given is wrong, so trying again cannot help."""

    wrong_use = True


def open_ledger(url: str, connections: int | None = None) -> sa.Engine:
    """An engine for the ledger at a SQLAlchemy URL. Nothing is read or made yet.

    `connections` is how many it opens at most (of a database in memory: one a thread, and it must be None). Who waits
    for one of them is refused after 10 seconds with SQLAlchemy's TimeoutError.

    Raises:
        WrongLedger: the URL is none, or names a database that is not supported. Its password is not repeated.
    """
    if not url.isprintable():
        raise WrongLedger(_WRONG_URL)
    bound = {} if connections is None else {
        "pool_size": connections, "max_overflow": 0, "pool_timeout": _POOL_SECONDS
    }  # fmt: skip
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "postgresql":  # what the URL says comes first
            more = {key: str(value) for key, value in _POSTGRES.items() if key not in parsed.query}
            parsed = parsed.update_query_dict(more)
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
    return engine


def _set_up_sqlite(connection: SQLiteConnection, _record: object) -> None:
    # WAL lets readers go on while the one writer commits; FULL makes a commit survive a power cut.
    # 32 MiB of pages: long questions read the same ones again.
    for pragma in (
        "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000", "cache_size=-32768",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def read_only(engine: sa.Engine, statement_seconds: float) -> sa.Engine:
    """The same ledger through connections that cannot write; `bound_statements` can change the limit later."""
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
    except sa.exc.SQLAlchemyError as error:
        raise LedgerError(f"ledger {printable_url(engine)}: {reason_of(error)}") from None


def migrate(engine: sa.Engine) -> str:
    """Bring the schema up to date; the revision it now has.

    Raises:
        LedgerError: the database cannot be opened, or was made by a later version.
    """
    return _move(engine, None)


def downgrade(engine: sa.Engine, revision: str) -> str:
    """Take the schema back to an earlier revision, so that the version that knows it can be installed again.

    In one transaction: whatever fails leaves the ledger as it was.

    Raises:
        LedgerError: the database cannot be opened; the revision is unknown, later than the ledger's, or before
            `OLDEST_SCHEMA`; or something is stored that the earlier schema has no place for.
    """
    return _move(engine, revision)


def _move(engine: sa.Engine, back_to: str | None) -> str:
    """Upgrade to the newest revision, or downgrade to `back_to`, under the lock; the revision there is then."""
    config = _config()
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            if engine.dialect.name == "postgresql":  # several servers may start at once
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATE_LOCK)))
            else:  # SQLite's driver begins only before a statement that writes rows: tables would be made outside
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            current = MigrationContext.configure(connection).get_current_revision()
            known = _revisions(config)
            if current is not None and current not in known:
                raise LedgerError(
                    f"the ledger has schema {current} of a later version: upgrade carbonbudget, or let that version "
                    f"run `carbonbudget ledger migrate --to {known[0]}`"
                )
            if back_to is None:
                command.upgrade(config, "head")
            else:
                _check_downgrade(current, back_to, known)
                command.downgrade(config, back_to)
            return str(MigrationContext.configure(connection).get_current_revision())
    except (sa.exc.SQLAlchemyError, UnicodeError) as error:
        raise _not_opened(engine, error) from None


def _check_downgrade(current: str | None, to: str, known: list[str]) -> None:
    allowed = known[: known.index(OLDEST_SCHEMA) + 1]
    if to not in allowed:
        raise WrongLedger(f"{to} is no schema that a ledger can be taken back to: {', '.join(allowed)}")
    if current is None or known.index(current) > known.index(to):
        raise LedgerError(
            f"the ledger has schema {current or 'none'}, which is not later than {to}: nothing to take back"
        )


def require_file(engine: sa.Engine) -> None:
    """Raise LedgerError where an SQLite ledger has no file yet, which opening it would make."""
    if engine.url.database and engine.dialect.name == "sqlite" and not Path(engine.url.database).exists():
        raise WrongLedger(
            f"there is no ledger at {engine.url.database}: name another by --ledger, or run the command where the "
            "ledger is, in the server's pod (kubectl exec deploy/carbonbudget-server -c server)"
        )


def require_schema(engine: sa.Engine) -> None:
    """Raise LedgerError unless the ledger exists with the schema of this version. Makes nothing.

    The image first: a command of a newer image than the server's must not migrate the ledger under that server.
    """
    require_file(engine)
    known = _revisions(_config())
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except (sa.exc.SQLAlchemyError, UnicodeError) as error:
        raise _not_opened(engine, error) from None
    if current == known[0]:
        return
    if current is not None and current not in known:
        raise LedgerError(
            f"the ledger has schema {current} of a later version, and this command has {known[0]}: use the image that "
            "the server runs"
        )
    raise LedgerError(
        f"the ledger has schema {current or 'none'}, and this command needs {known[0]}: use the image that the server "
        "runs; only if no server runs on this ledger, `carbonbudget ledger migrate` upgrades it"
    )


def _revisions(config: Config) -> list[str]:
    """The schemas that this version has, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]


def _not_opened(engine: sa.Engine, error: Exception) -> LedgerError:
    """The error for a database that cannot be opened: WrongLedger if trying again cannot help."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    no_name = isinstance(error, UnicodeError)  # a host that can be no name
    kind = WrongLedger if no_name or code in (SQLITE_NOTADB, SQLITE_CANTOPEN) else LedgerError
    return kind(f"ledger {printable_url(engine)} cannot be opened: {_first_line(error)}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def reason_of(error: Exception) -> str:
    """The message of a database's error, in one line."""
    if isinstance(error, sa.exc.TimeoutError):
        return "all connections of this kind of work are in use"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
