"""Brings the ledger's schema up to date or back, and checks which schema a ledger has."""

from __future__ import annotations

from pathlib import Path
from sqlite3 import SQLITE_CANTOPEN, SQLITE_NOTADB

import sqlalchemy as sa
from alembic import command
from alembic.runtime.migration import MigrationContext

from carbonbudget_operator.ledger.ledger_engine import LedgerError, WrongLedger, first_line, printable_url
from carbonbudget_operator.ledger.schema_revisions import migrations, revisions
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, begin_immediate, lock_alone

# Schemas before this one cannot be gone back to: 0006 joined rows that no downgrade could part again.
OLDEST_SCHEMA = "0008"


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
        LedgerError: the database cannot be opened; a server runs on it (which PostgreSQL alone can tell); the revision
            is unknown, later than the ledger's, or before `OLDEST_SCHEMA`; or something is stored that the earlier
            schema has no place for.
    """
    return _move(engine, revision)


def _move(engine: sa.Engine, back_to: str | None) -> str:
    """Upgrade to the newest revision, or downgrade to `back_to`, under the lock; the revision there is then."""
    config, known = migrations(), revisions()
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            if engine.dialect.name == "postgresql":
                # The lock refuses every write of the other servers: one that starts on its own schema does not take it.
                if back_to is None and _current(connection) == known[0]:
                    return known[0]
                if back_to is not None:
                    _require_no_server(connection)
                lock_alone(connection, AdvisoryLock.MIGRATION)  # several servers may start at once
            else:
                begin_immediate(connection)
            current = _current(connection)
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
            return str(_current(connection))
    except (sa.exc.SQLAlchemyError, UnicodeError) as error:
        raise _not_opened(engine, error) from None


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _require_no_server(connection: sa.Connection) -> None:
    """Raise LedgerError while a server has a connection to the ledger; until the transaction ends, none opens one."""
    if not lock_alone(connection, AdvisoryLock.SERVERS, wait=False):
        raise LedgerError(
            "a server runs on this ledger, and would migrate it again: scale it to 0 first (kubectl -n "
            "carbonbudget-system scale deploy/carbonbudget-server --replicas=0), wait until its pods are gone, and run "
            "this again"
        )


def _check_downgrade(current: str | None, to: str, known: tuple[str, ...]) -> None:
    allowed = known[: known.index(OLDEST_SCHEMA) + 1]
    if to not in allowed:
        raise WrongLedger(f"{to} is no schema that a ledger can be taken back to: {', '.join(allowed)}")
    if current is None or known.index(current) > known.index(to):
        raise LedgerError(
            f"the ledger has schema {current or 'none'}, which is not later than {to}: nothing to take back"
        )


def require_ledger_file(engine: sa.Engine) -> None:
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
    require_ledger_file(engine)
    known = revisions()
    try:
        with engine.connect() as connection:
            current = _current(connection)
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


def _not_opened(engine: sa.Engine, error: Exception) -> LedgerError:
    """The error for a database that cannot be opened: WrongLedger if trying again cannot help."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    no_name = isinstance(error, UnicodeError)  # a host that can be no name
    kind = WrongLedger if no_name or code in (SQLITE_NOTADB, SQLITE_CANTOPEN) else LedgerError
    return kind(f"ledger {printable_url(engine)} cannot be opened: {first_line(error)}")
