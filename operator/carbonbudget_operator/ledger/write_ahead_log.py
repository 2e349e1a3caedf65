"""Empties SQLite's write-ahead log, also where the ledger is read nearly all the time.

SQLite reuses the space of the log only when no reader needs what is in it. While people's questions keep all worker
processes busy there is always such a reader, and the log would grow by half a megabyte a second.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import sqlalchemy as sa

LONG_BYTES: Final = 64 * 2**20
_AGAIN_SECONDS: Final = 0.02  # a commit or a reader that is under way makes a try fail


def log_bytes(engine: sa.Engine) -> int:
    """The length of the log's file; 0 for PostgreSQL, and where there is none. Raises OSError."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return 0
    log = Path(f"{engine.url.database}-wal")
    return log.stat().st_size if log.exists() else 0


def copy_log(engine: sa.Engine) -> None:
    """Copy the log into the database's file, except what readers still need. Commits do not wait for it.

    Raises SQLAlchemyError.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()


def empty_log(engine: sa.Engine, seconds: float) -> bool:
    """Empty the log at an instant at which nobody reads it; False if there is none for so long.

    Commits wait while what `copy_log` left is copied, and not for readers. Raises SQLAlchemyError.
    """
    until = time.monotonic() + seconds
    with engine.connect() as connection:
        # SQLite would wait for readers as long as for a lock, and hold the lock of commits meanwhile.
        wait_ms = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        try:
            while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]:
                if time.monotonic() >= until:
                    return False
                time.sleep(_AGAIN_SECONDS)
            return True
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={wait_ms}")
