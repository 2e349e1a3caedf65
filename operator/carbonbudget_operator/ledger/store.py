"""Opens the ledger: engine, SQLite's settings, migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

_MIGRATE_LOCK = 0x6362_0002
# Schemas before this one cannot be gone back to: 0006 joined rows that no downgrade could part again.
OLDEST_SCHEMA = "0008"
_WRONG_URL = (
    "the ledger's URL is not of the form sqlite:////PATH or postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE; "
    "in USER and PASSWORD write % as %25, @ as %40, : as %3A and / as %2F"
)


class LedgerError(Exception):
    """The ledger cannot be used; one line says why and what to do."""


def open_ledger(url: str, connections: int | None = None) -> sa.Engine:
    """An engine for the ledger at a SQLAlchemy URL. Nothing is read or made yet.

    `connections` is how many it opens at most (of a database in memory: one a thread, and it must be None).

    Raises:
        LedgerError: the URL is none, or names a database that is not supported. Its password is not repeated.
    """
    if not url.isprintable():
        raise LedgerError(_WRONG_URL)
    bound = {} if connections is None else {"pool_size": connections, "max_overflow": 0}
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, **bound)
    except (sa.exc.NoSuchModuleError, ImportError):
        scheme = url.partition(":")[0]
        raise LedgerError(f"ledger on {scheme!r} is not supported: use sqlite or postgresql+psycopg") from None
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number. Its text may hold the password.
        raise LedgerError(_WRONG_URL) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
    elif engine.dialect.name != "postgresql":
        raise LedgerError(f"ledger on {engine.dialect.name} is not supported: use sqlite or postgresql")
    return engine


def _set_up_sqlite(connection: SQLiteConnection, _record: object) -> None:
    # WAL lets readers go on while the one writer commits; FULL makes a commit survive a power cut.
    # 32 MiB of pages: long questions read the same ones again.
    for pragma in (
        "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000", "cache_size=-32768",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def shown(engine: sa.Engine) -> str:
    """The ledger's URL for people: without its password, and without options, which may hold one too."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose questions all see the ledger as it was at the first of them, whatever is booked meanwhile."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            yield connection
        return
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")  # SQLite's driver begins only before a statement that writes
        yield connection


@contextmanager
def told(engine: sa.Engine) -> Iterator[None]:
    """What the database says inside becomes a LedgerError of one line."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise LedgerError(f"ledger {shown(engine)}: {_first_line(error)}") from None


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
            known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]  # newest first
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
    except (sa.exc.SQLAlchemyError, UnicodeError) as error:  # UnicodeError: a host that can be no name
        raise LedgerError(f"ledger {shown(engine)} cannot be opened: {_first_line(error)}") from None


def _check_downgrade(current: str | None, to: str, known: list[str]) -> None:
    allowed = known[: known.index(OLDEST_SCHEMA) + 1]
    if to not in allowed:
        raise LedgerError(f"{to} is no schema that a ledger can be taken back to: {', '.join(allowed)}")
    if current is None or known.index(current) > known.index(to):
        raise LedgerError(
            f"the ledger has schema {current or 'none'}, which is not later than {to}: nothing to take back"
        )


def require_file(engine: sa.Engine) -> None:
    """Raise LedgerError where an SQLite ledger has no file yet, which opening it would make."""
    if engine.url.database and engine.dialect.name == "sqlite" and not Path(engine.url.database).exists():
        raise LedgerError(
            f"there is no ledger at {engine.url.database}: name another by --ledger, or run the command where the "
            "ledger is, in the server's pod (kubectl exec deploy/carbonbudget-server -c server)"
        )


def require_schema(engine: sa.Engine) -> None:
    """Raise LedgerError unless the ledger exists with the schema of this version. Makes nothing."""
    require_file(engine)
    head = ScriptDirectory.from_config(_config()).get_current_head()
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except (sa.exc.SQLAlchemyError, UnicodeError) as error:  # UnicodeError: a host that can be no name
        raise LedgerError(f"ledger {shown(engine)} cannot be opened: {_first_line(error)}") from None
    if current != head:
        raise LedgerError(f"the ledger has schema {current}, not {head}: run `carbonbudget ledger migrate`")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
