"""Keeps SQLite's write-ahead log short where somebody always reads.

SQLite begins its log anew only at an instant when nobody reads what the log holds. Beside people who keep all worker
processes busy there is none, and the log would grow by half a megabyte a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa

LONG_BYTES: Final = 64 * 2**20
_TRIES: Final = 5  # a commit that is under way makes one fail


def log_bytes(engine: sa.Engine) -> int:
    """The length of the log's file; 0 for PostgreSQL, and where there is none. Raises OSError."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return 0
    log = Path(f"{engine.url.database}-wal")
    return log.stat().st_size if log.exists() else 0


def shorten(engine: sa.Engine) -> bool:
    """Empty the log if nobody reads it now. Commits wait while it is copied. Raises SQLAlchemyError."""
    with engine.connect() as connection:
        # It would wait for readers as long as for a lock, and commits with it.
        wait_ms = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        try:
            return any(
                not connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0] for _ in range(_TRIES)
            )
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={wait_ms}")
