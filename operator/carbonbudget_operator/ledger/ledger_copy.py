"""Backup and restore: copies a complete ledger into another one, between any of the two databases.

A backup is always an SQLite file, so that it can be opened, checked and queried without a server.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.ledger_engine import LedgerError, WrongLedger, printable_url, snapshot
from carbonbudget_operator.ledger.write_locks import write_transaction

_ROWS = 5_000


def copy_ledger(source: sa.Engine, target: sa.Engine) -> Iterator[tuple[str, int]]:
    """Copy all tables in one transaction of each side; yields each table with its rows when it is done.

    Raises:
        WrongLedger: the target is not empty.
        LedgerError: either side failed; the target is as it was.
    """
    try:
        with snapshot(source) as reading, write_transaction(target) as writing:
            for table in schema.metadata.sorted_tables:
                if writing.execute(sa.select(table).limit(1)).first() is not None:
                    raise WrongLedger(
                        f"the target ledger {printable_url(target)} is not empty, and only an empty one can be "
                        "copied into: "
                        "name another one by --ledger, or move this one away first"
                    )
            for table in schema.metadata.sorted_tables:
                count = 0
                rows = reading.execute(sa.select(table).execution_options(yield_per=_ROWS))
                for part in rows.mappings().partitions(_ROWS):
                    writing.execute(sa.insert(table), [dict(row) for row in part])
                    count += len(part)
                numbered = table.autoincrement_column
                if target.dialect.name == "postgresql" and numbered is not None:
                    writing.execute(
                        sa.select(
                            sa.func.setval(
                                sa.func.pg_get_serial_sequence(table.name, numbered.name),
                                sa.select(sa.func.coalesce(sa.func.max(numbered), 0) + 1).scalar_subquery(),
                                False,
                            )
                        )
                    )
                yield table.name, count
    except sa.exc.SQLAlchemyError as error:
        raise LedgerError(f"the copy failed: {str(getattr(error, 'orig', None) or error).splitlines()[0]}") from None
