"""After a failover of PostgreSQL the server may reach the demoted primary: it answers, and refuses every write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, booked
from tests.postgres import PostgresServer

from carbonbudget_operator.cli.answer_source import AnswerSourceError
from carbonbudget_operator.cli.answers_from_ledger import LedgerSource
from carbonbudget_operator.ledger.booking import BookingResult
from carbonbudget_operator.ledger.ledger_copy import copy_ledger
from carbonbudget_operator.ledger.ledger_engine import LedgerError, open_ledger
from carbonbudget_operator.ledger.read_only_database import AWAY, ReadOnlyDatabase, require_writable
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server_settings import ServerSettings
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UnitError

# What a proxy or a URL of the user's makes of it: each connection is opened, whatever is at its other end.
ANY_SESSION = "&target_session_attrs=any"


class Primary:
    """A database that is demoted and promoted: connections break, and new ones are read-only."""

    def __init__(self, postgres: PostgresServer, template: str) -> None:
        self._postgres = postgres
        self.url = postgres.database(f"TEMPLATE {template}")
        self._name = str(sa.make_url(self.url).database)

    def demote(self) -> None:
        self._postgres.execute(f"ALTER DATABASE {self._name} SET default_transaction_read_only = on")
        self._postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'")

    def promote(self) -> None:
        """Connections that were opened meanwhile stay read-only, as those to a demoted primary."""
        self._postgres.execute(f"ALTER DATABASE {self._name} RESET default_transaction_read_only")


@pytest.fixture
def primary(postgres: PostgresServer, postgres_ledger: str) -> Primary:
    return Primary(postgres, postgres_ledger)


@pytest.fixture
def open_url() -> Iterator[Callable[[str], sa.Engine]]:
    opened: list[sa.Engine] = []

    def make(url: str) -> sa.Engine:
        opened.append(open_ledger(url))
        return opened[-1]

    yield make
    for engine in opened:
        engine.dispose()


@pytest.mark.parametrize("more", ["", ANY_SESSION], ids=["refused when opened", "refused at the write"])
async def test_a_batch_is_tried_once_and_logged_once_and_stored_when_there_is_a_primary_again(
    primary: Primary, open_url: Callable[[str], sa.Engine], more: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer, attempts = LedgerWriter(open_url(primary.url + more)), list[int]()
    original = writer._booker.book
    writer._booker.book = lambda arrivals: attempts.append(len(arrivals)) or original(arrivals)  # type: ignore[method-assign]
    reports = [a_report(HOUR + 60 * n, node=f"node-{n % 6}") for n in range(36)]
    assert await booked(writer, reports[0]) is BookingResult.STORED
    primary.demote()
    for first in (0, 12, 24):
        with writer._lock:
            waiting = [asyncio.ensure_future(booked(writer, one)) for one in reports[first : first + 12]]
            await asyncio.sleep(0)
        said = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(error) for error in said} == {LedgerError}
        assert all("read-only" in str(error) for error in said)
    assert sum(attempts) == 1 + 36  # each report once
    assert len([record for record in caplog.records if "ledger: " in record.message]) == 1
    primary.promote()
    fates = await asyncio.gather(*(booked(writer, one) for one in reports))
    assert fates == [BookingResult.DUPLICATE] + [BookingResult.STORED] * 35
    writer.close()


def test_a_refused_write_ends_all_connections_of_its_pool_whatever_wrote(
    primary: Primary, open_url: Callable[[str], sa.Engine]
) -> None:
    primary.demote()
    engine = open_url(primary.url + ANY_SESSION)
    with engine.connect(), engine.connect():
        pass
    assert engine.pool.checkedin() == 2  # type: ignore[attr-defined] # of a QueuePool
    for statement in ("INSERT INTO node (cluster, name) VALUES ('a', 'b')", "CREATE TABLE more (a int)"):
        with pytest.raises(ReadOnlyDatabase, match="read-only") as raised, engine.begin() as connection:
            connection.exec_driver_sql(statement)
        assert isinstance(raised.value, AWAY)
        assert UnitError((0, HOUR), raised.value).away
    primary.promote()
    with engine.connect() as one, engine.connect() as another:
        for connection in (one, another):
            assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "off"


def test_a_connection_that_became_read_only_is_found_without_a_write_and_ended(
    primary: Primary, open_url: Callable[[str], sa.Engine]
) -> None:
    engine = open_url(primary.url + ANY_SESSION)
    require_writable(engine)
    primary.demote()
    with pytest.raises(ReadOnlyDatabase, match="read-only"):
        require_writable(engine)
    primary.promote()
    require_writable(engine)


def test_what_only_reads_may_use_a_standby_and_what_writes_may_not(primary: Primary, tmp_path: Path) -> None:
    primary.demote()
    source = LedgerSource(Settings(server=ServerSettings(ledger=primary.url)))
    assert all(found == [] for found in source.closures().values())
    with pytest.raises(AnswerSourceError, match="read-only"):
        source.reopen("2026-10", "wrong")
    with pytest.raises(LedgerError, match="read-only"):
        migrate(open_ledger(primary.url))
    copy = open_ledger(f"sqlite:///{tmp_path}/copy.db")
    migrate(copy)
    standby = open_ledger(primary.url, may_be_standby=True)
    assert dict(copy_ledger(standby, copy))["node"] == 0
    for engine in (standby, copy):
        engine.dispose()


@pytest.mark.parametrize(
    ("more", "wanted"),
    [("", "read-write"), ("&target_session_attrs=any", "any"), ("&target_session_attrs=primary", "primary")],
)
def test_all_hosts_of_a_url_are_tried_for_the_primary_unless_it_says_otherwise(more: str, wanted: str) -> None:
    engine = open_ledger(f"postgresql+psycopg://me:secret@/ledger?host=pg-0:5432&host=pg-1:5433{more}")
    _, arguments = engine.dialect.create_connect_args(engine.url)
    assert arguments["host"] == "pg-0,pg-1"
    assert arguments["port"] == "5432,5433"
    assert arguments["target_session_attrs"] == wanted
