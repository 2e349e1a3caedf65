"""Booking by several servers and processes on one ledger, and while the database is away or rejects rows."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.ledger_facts import checked, slices, total_uj
from tests.ledger.reports import HOUR, a_report, book, booked
from tests.postgres import PostgresServer

from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.bulk_rows import texts, written_array
from carbonbudget_operator.ledger.ledger_engine import LedgerError, open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.writer import LedgerWriter

FULL = {
    "sqlite": ["CREATE TRIGGER too_full BEFORE INSERT ON pod_energy BEGIN SELECT RAISE(ABORT, 'disk full'); END"],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full'; END$$",
        "CREATE TRIGGER too_full BEFORE INSERT ON pod_energy FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}


EMPTY = {"sqlite": "DROP TRIGGER too_full", "postgresql": "DROP TRIGGER too_full ON pod_energy"}


async def test_a_database_that_refuses_stores_nothing_and_is_tried_again(engine: sa.Engine) -> None:
    writer = LedgerWriter(engine)
    with engine.begin() as connection:
        for statement in FULL[engine.dialect.name]:
            connection.exec_driver_sql(statement)
    with pytest.raises(LedgerError, match="the ledger cannot store: disk full"):
        await booked(writer, a_report())
    assert slices(engine) == []
    with engine.begin() as connection:
        connection.exec_driver_sql(EMPTY[engine.dialect.name])
    assert await booked(writer, a_report()) is BookingResult.STORED
    writer.close()


async def test_several_servers_on_one_ledger_book_each_window_once(
    postgres: PostgresServer, open_engine: Callable[[str], sa.Engine]
) -> None:
    """Three servers, and agents that send each report to two of them at once, as after a time-out."""
    url = postgres.database()
    engines = [open_engine(url) for _ in range(3)]
    writers = [LedgerWriter(engine) for engine in engines]
    reports = [
        a_report(HOUR + 60 * minute, f"n{node}", {f"p{node}": 7, "same": 5})
        for minute in range(30)
        for node in range(8)
    ]
    ask = [
        booked(writer, report)
        for i, report in enumerate(reports)
        for writer in (writers[i % 3], writers[i // 3 % 3 - 1])
    ]
    fates = Counter(await asyncio.gather(*ask))
    assert (fates[BookingResult.STORED], fates[BookingResult.STORED] + fates[BookingResult.DUPLICATE]) == (
        len(reports),
        2 * len(reports),
    )
    writers[0].add_cuts([("team-a", HOUR + 1_801)], now=HOUR)
    assert (checked(engines[0]).windows, checked(engines[0]).defects) == (len(reports), [])
    assert total_uj(engines[1]) == 712 * len(reports)
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
async def test_while_postgresql_is_away_nothing_is_acknowledged_and_afterwards_all_is_there(
    how: signal.Signals, postgres: PostgresServer, open_engine: Callable[[str], sa.Engine]
) -> None:
    engine = open_engine(postgres.database())
    writer = LedgerWriter(engine)
    first, second = a_report(), a_report(HOUR + 60)
    assert await booked(writer, first) is BookingResult.STORED
    postgres.stop(how)
    try:
        with pytest.raises(LedgerError, match="the ledger cannot store"):
            await booked(writer, second)
    finally:
        postgres.start()
    assert await booked(writer, first) is BookingResult.DUPLICATE
    assert await booked(writer, second) is BookingResult.STORED
    assert (total_uj(engine), checked(engine).defects) == (2000, [])
    writer.close()


async def test_servers_that_start_at_once_make_one_schema(postgres: PostgresServer) -> None:
    url = postgres.database()
    engines = [open_ledger(url) for _ in range(4)]
    made = await asyncio.gather(*(asyncio.to_thread(migrate, engine) for engine in engines))
    assert set(made) == {"0022"}
    for engine in engines:
        engine.dispose()


def test_two_processes_on_one_ledger_book_each_window_once(engine: sa.Engine, url: str) -> None:
    """A server, and `ledger import` beside it."""
    other = open_ledger(url)
    reports = [a_report(HOUR + 60 * minute, f"n{node}") for minute in range(30) for node in range(3)]
    fates: Counter[BookingResult] = Counter()

    def run(mine: sa.Engine) -> None:
        booker = Booker(mine)
        for report in reports:
            fates.update(book(booker, report))

    threads = [threading.Thread(target=run, args=(mine,)) for mine in (engine, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.dispose()
    assert fates == {BookingResult.STORED: len(reports), BookingResult.DUPLICATE: len(reports)}
    assert (checked(engine).windows, total_uj(engine)) == (len(reports), 1000 * len(reports))


async def test_servers_that_book_each_others_former_hours_do_not_wait_for_each_other(
    postgres: PostgresServer, open_engine: Callable[[str], sa.Engine]
) -> None:
    """After a gap a report adds to hours in which another server books the same nodes in another order."""
    url = postgres.database()
    writers = [LedgerWriter(open_engine(url)) for _ in range(3)]
    gaps = [a_report(HOUR + 7200 + 60 * i, f"n{n}", {"p": 7, "q": 5}, since=HOUR) for i in range(9) for n in range(8)]
    # Nine gaps over the same hours: meters and pods were there for a minute of them, else the hours could not hold all.
    after = [
        replace(
            report,
            domains=(replace(report.domains[0], duration_ms=60_000),),
            pods=tuple(replace(pod, duration_ms=60_000) for pod in report.pods),
        )
        for report in gaps
    ]
    late = [a_report(HOUR + 60 * i, f"n{n}", {"q": 5, "p": 7}) for i in range(9) for n in reversed(range(8))]
    ask = [booked(writers[i % 3], report) for reports in (after, late) for i, report in enumerate(reports)]
    assert Counter(await asyncio.gather(*ask)) == {BookingResult.STORED: len(after) + len(late)}
    for writer in writers:
        writer.close()
    engine = open_engine(url)
    assert checked(engine).defects == []
    assert total_uj(engine) == 712 * (len(after) + len(late))


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=1, max_size=9))
def test_texts_are_written_as_postgresql_reads_them(postgres: PostgresServer, values: list[str]) -> None:
    engine = open_ledger(_one_database(postgres))
    with engine.connect() as connection:
        found = connection.execute(sa.select(sa.func.unnest(written_array("a", sa.String()))), {"a": texts(values)})
        assert list(found.scalars()) == values
    engine.dispose()


@lru_cache
def _one_database(postgres: PostgresServer) -> str:
    return postgres.database()
