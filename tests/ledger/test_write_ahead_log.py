"""SQLite's log is emptied where nobody reads it, and neither readers nor commits wait for the other to end."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa
from tests.databases import make_tables
from tests.ledger.reports import a_report, book

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger, read_only, snapshot
from carbonbudget_operator.ledger.write_ahead_log import copy_log, empty_log, log_bytes


def a_ledger(base: Path) -> sa.Engine:
    engine = open_ledger(f"sqlite:///{base}/ledger.db")
    make_tables(engine)
    book(Booker(engine), a_report())
    return engine


def test_a_log_that_nobody_reads_is_emptied_and_nothing_is_lost(tmp_path: Path) -> None:
    engine = a_ledger(tmp_path)
    assert log_bytes(engine) > 0
    copy_log(engine)
    assert empty_log(engine, 0)
    assert log_bytes(engine) == 0
    with engine.connect() as connection:
        assert connection.scalars(sa.select(schema.node.c.name)).all() == ["node-1"]
    engine.dispose()


def test_a_commit_does_not_wait_for_a_reader_that_keeps_the_log(tmp_path: Path) -> None:
    """SQLite alone would wait for the reader with the commits' lock in its hands."""
    engine = a_ledger(tmp_path)
    reading, ended = read_only(engine, 10), list[bool]()
    with snapshot(reading) as connection:
        connection.execute(sa.select(schema.node)).all()
        emptying = threading.Thread(target=lambda: ended.append(empty_log(engine, 3600)))
        emptying.start()
        for number in range(20):
            book(Booker(engine), a_report(node=f"more-{number}"))
        assert emptying.is_alive()
        assert log_bytes(engine) > 0
    emptying.join(30)
    assert ended == [True]
    assert log_bytes(engine) == 0
    with engine.connect() as connection:  # the connection that was used waits for locks again
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 10_000
    reading.dispose()
    engine.dispose()


def test_a_log_that_somebody_reads_stays(tmp_path: Path) -> None:
    engine = a_ledger(tmp_path)
    reading = read_only(engine, 10)
    with snapshot(reading) as connection:
        connection.execute(sa.select(schema.node)).all()
        book(Booker(engine), a_report(node="node-2"))
        assert not empty_log(engine, 0)
        assert log_bytes(engine) > 0
    reading.dispose()
    engine.dispose()


def test_only_sqlite_has_such_a_log(engine: sa.Engine) -> None:
    book(Booker(engine), a_report())
    assert (log_bytes(engine) > 0) == (engine.dialect.name == "sqlite")
