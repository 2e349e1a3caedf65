"""How large the ledger is, and how much room its volume has left."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class LedgerSize:
    """`free_bytes` is what the server's account may still write; None where the volume is not the server's own."""

    used_bytes: int
    free_bytes: int | None = None


def ledger_size(engine: sa.Engine) -> LedgerSize:
    """The size of the database: for SQLite all its files, with the write-ahead log. Raises OSError, SQLAlchemyError."""
    if engine.dialect.name != "sqlite":
        with engine.connect() as connection:
            return LedgerSize(int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0))
    path = engine.url.database
    if not path:
        return LedgerSize(0)
    files = (Path(path + ending) for ending in ("", "-wal", "-shm"))
    volume = os.statvfs(Path(path).parent)
    return LedgerSize(sum(file.stat().st_size for file in files if file.exists()), volume.f_bavail * volume.f_frsize)
