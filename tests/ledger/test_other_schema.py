"""Servers of two versions on one PostgreSQL: the older one stores nothing once the newer one has migrated it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from tests.conftest import ROOT
from tests.ledger.reports import HOUR, a_report, book, booked

from carbonbudget_operator.answers.report_closing import reopen_period, store_closure
from carbonbudget_operator.ledger.batch_delete import BatchDeleter
from carbonbudget_operator.ledger.booked_adjustments import BookedAdjustment, book_adjustments
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.closed_reports import ClosedReport
from carbonbudget_operator.ledger.export_cursor import ExportCursor
from carbonbudget_operator.ledger.external_figure import ExternalFile
from carbonbudget_operator.ledger.external_figure_store import store_file
from carbonbudget_operator.ledger.forecast_store import fail_forecast, store_forecast
from carbonbudget_operator.ledger.intensity_store import claim_poll, fail_poll, store_intensities
from carbonbudget_operator.ledger.ledger_engine import LedgerError, hold_as_server, open_ledger
from carbonbudget_operator.ledger.node_coverage import forget_listed, store_counts, store_listed
from carbonbudget_operator.ledger.read_tokens import create_token, note_use, revoke_token
from carbonbudget_operator.ledger.schema import cut
from carbonbudget_operator.ledger.schema_migration import downgrade, migrate
from carbonbudget_operator.ledger.schema_revisions import revisions
from carbonbudget_operator.ledger.seal import seal_hour
from carbonbudget_operator.ledger.span_store import Post, SpanStore
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.unit_store import FailedHour, UnitStore, WantedCounter
from carbonbudget_operator.ledger.workload_owners import store_owners
from carbonbudget_operator.ledger.write_locks import (
    AdvisoryLock,
    OtherSchema,
    lock_alone,
    require_own_schema,
    write_transaction,
)
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.units.counter_expression import CounterExpression
from carbonbudget_operator.units.counting import HourUnits
from carbonbudget_operator.units.pending_hours import AttemptedHour
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

NEWEST, BEFORE = revisions()[:2]
REPLACED = f"the ledger has another schema (9999, and this server has {NEWEST}): this server is being replaced"
Engines = Callable[[str], sa.Engine]


@pytest.fixture(params=["postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """One process uses an SQLite ledger: there is no server of another version beside it."""
    return str(request.param)


def set_schema(engine: sa.Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def rows(engine: sa.Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)


@contextmanager
def a_migration(engine: sa.Engine) -> Iterator[None]:
    """A migration that takes as long as the body."""
    with engine.begin() as connection:
        lock_alone(connection, AdvisoryLock.MIGRATION)
        yield


def waiting(engine: sa.Engine, lock: AdvisoryLock) -> bool:
    with engine.connect() as connection:
        query = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock AND NOT granted")
        return bool(connection.scalar(query, {"lock": int(lock)}))


async def test_a_report_to_a_server_of_another_schema_is_refused_and_stays_with_its_agent(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    writer = LedgerWriter(engine)
    assert await booked(writer, a_report()) is BookingResult.STORED
    set_schema(engine, "9999")
    for minute in (1, 2):
        with pytest.raises(LedgerError, match="9999, and this server has") as error:
            await booked(writer, a_report(HOUR + 60 * minute))
        assert REPLACED in str(error.value)
    assert len([line for line in caplog.messages if "9999" in line]) == 1
    set_schema(engine, NEWEST)
    assert await booked(writer, a_report(HOUR + 60)) is BookingResult.STORED
    writer.close()


def _writes(engine: sa.Engine) -> dict[str, Callable[[], object]]:
    """Everything that writes to the ledger, by the function that does."""
    counter = CounterExpression("m_total")
    units, spans = UnitStore(engine, "default"), SpanStore(engine, "default", 100)
    cursor = ExportCursor(engine, "default", "t", "me")
    stored = ValuedReader(engine, Settings()).derived
    closed = ClosedReport("2026-01", HOUR, "0" * 64, "{}")
    adjustment = BookedAdjustment("a", "b", 0, HOUR, "carry-over", "s", 5)
    file = ExternalFile("aws", "0" * 64, "f", ())
    return {
        "book": lambda: book(Booker(engine), a_report()),
        "seal_hour": lambda: seal_hour(engine, "default", HOUR, 1, HOUR, lambda _connection, _hour: 0),
        "BatchDeleter": lambda: BatchDeleter(engine).delete([sa.delete(cut)]),
        "book_adjustments": lambda: book_adjustments(engine, "default", [[adjustment]], HOUR),
        "store_file": lambda: store_file(engine, "default", file, HOUR, "me"),
        "acquire": lambda: cursor.acquire(HOUR, 0),
        "renew": lambda: cursor.renew(HOUR),
        "forget hours": lambda: cursor.forget(HOUR, []),
        "store_forecast": lambda: store_forecast(engine, "s", "DE", "direct", {HOUR: 1}, HOUR, HOUR),
        "fail_forecast": lambda: fail_forecast(engine, "s", "DE", "e", HOUR),
        "store_intensities": lambda: store_intensities(engine, "s", "DE", "direct", {HOUR: (1, False)}, HOUR, 1),
        "claim_poll": lambda: claim_poll(engine, "s", "DE", HOUR, 60),
        "fail_poll": lambda: fail_poll(engine, "s", "DE", "e"),
        "store_listed": lambda: store_listed(engine, "default", {"n": "u"}, HOUR),
        "store_counts": lambda: store_counts(engine, "default", {"": 1}, HOUR),
        "forget_listed": lambda: forget_listed(engine, "default", ["u"]),
        "create_token": lambda: create_token(engine, "default", "n", [], "{}", "me", HOUR, HOUR + 60),
        "revoke_token": lambda: revoke_token(engine, "default", 1, "me", HOUR),
        "note_use": lambda: note_use(engine, 1, HOUR),
        "spans": lambda: spans.store([Post("a", "u", "p")], HOUR),
        "register": lambda: units.register([WantedCounter("a", counter, HOUR)], HOUR),
        "lease": lambda: units.acquire(HOUR, "me"),
        "store_hour": lambda: units.store_hour(1, HOUR, HourUnits({}, True, True)),
        "store_failures": lambda: units.store_failures([FailedHour(1, HOUR, AttemptedHour(HOUR, 1), "e")]),
        "forget units": lambda: stored.forget([(HOURS, HOUR, HOUR + 3600)]),
        "store_owners": lambda: store_owners(engine, {}, [HOUR]),
        "store_closure": lambda: store_closure(engine, "default", closed),
        "reopen_period": lambda: reopen_period(engine, "default", "2026-01", HOUR, "a reason"),
    }


def test_whatever_writes_is_refused_by_another_schema_and_by_a_migration_under_way(
    url: str, open_engine: Engines
) -> None:
    """The kind of the test before this one."""
    engine = open_engine(url)
    set_schema(engine, "9999")
    for name, write in _writes(engine).items():
        with pytest.raises(OtherSchema, match="this server is being replaced"):
            pytest.fail(f"{name} returned {write()}")
    set_schema(engine, NEWEST)
    with a_migration(open_engine(url)):
        for name, write in _writes(engine).items():
            with pytest.raises(OtherSchema, match="schema is being changed"):
                pytest.fail(f"{name} returned {write()}")
    require_own_schema(engine)


def test_transactions_that_write_begin_in_one_place_and_locks_have_their_numbers_there() -> None:
    """So that nothing that is added later can forget the check of the schema."""
    package = ROOT / "operator" / "carbonbudget_operator"
    of_locks, of_migration = package / "ledger" / "write_locks.py", package / "ledger" / "schema_migration.py"
    for path in sorted(package.rglob("*.py")):
        source = path.read_text()
        if path != of_locks:
            found = [text for text in ("BEGIN IMMEDIATE", "pg_advisory_xact", "0x6362", ".commit()") if text in source]
            assert not found, f"{path}: {found}"
        if path not in (of_locks, of_migration):
            assert ".begin()" not in source, f"{path} begins a transaction: use write_transaction"
    assert len(AdvisoryLock.__members__) == len(AdvisoryLock), "two locks have one number"


def test_a_migration_waits_for_what_is_being_written_and_lets_nothing_new_begin(url: str, open_engine: Engines) -> None:
    engine, other, found = open_engine(url), open_engine(url), list[str]()
    thread = threading.Thread(target=lambda: found.append(downgrade(other, BEFORE)))
    with write_transaction(engine) as connection:
        thread.start()
        while not waiting(engine, AdvisoryLock.MIGRATION):
            assert thread.is_alive()
        with pytest.raises(OtherSchema, match="schema is being changed"):
            require_own_schema(engine)
        connection.execute(sa.text("DELETE FROM posted_unit_hour"))  # the table stays as long as this takes
    thread.join()
    assert found == [BEFORE]
    with pytest.raises(OtherSchema, match="another schema"):
        require_own_schema(engine)


def test_a_server_that_starts_on_its_own_schema_takes_no_lock(url: str, open_engine: Engines) -> None:
    """Else each start of a server would refuse reports to the others."""
    engine = open_engine(url)
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: statements.append(statement))
    assert migrate(engine) == NEWEST
    assert statements
    assert not [text for text in statements if "advisory" in text]


def test_a_ledger_that_a_server_uses_is_not_downgraded(url: str, open_engine: Engines) -> None:
    engine, server = open_engine(url), open_ledger(url)
    hold_as_server(server)
    require_own_schema(server)  # its connection stays open in the pool
    refused = "a server runs on this ledger.*scale it to 0 first.*--replicas=0"
    with pytest.raises(LedgerError, match=refused):
        downgrade(engine, BEFORE)
    with engine.begin() as connection:
        ended = sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock")
        assert connection.execute(ended, {"lock": int(AdvisoryLock.SERVERS)}).scalars().all() == [True]
    require_own_schema(server)  # by a new connection
    with pytest.raises(LedgerError, match=refused):
        downgrade(engine, BEFORE)
    assert rows(engine, "posted_unit_hour") == 0  # the table is there
    server.dispose()
    while True:  # the database ends a session some milliseconds after its client did
        try:
            assert downgrade(engine, BEFORE) == BEFORE
        except LedgerError:
            continue
        break


def test_a_server_that_starts_during_a_downgrade_waits_for_its_end(url: str, open_engine: Engines) -> None:
    engine, server, seen = open_engine(url), open_ledger(url), list[str]()
    hold_as_server(server)
    with engine.begin() as connection:
        assert lock_alone(connection, AdvisoryLock.SERVERS, wait=False)
        thread = threading.Thread(target=lambda: seen.append(migrate(server)))
        thread.start()
        while not waiting(open_engine(url), AdvisoryLock.SERVERS):
            assert thread.is_alive()
        assert seen == []
    thread.join()
    assert seen == [NEWEST]
    server.dispose()
