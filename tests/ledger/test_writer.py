"""The writer's thread: what waits is read and booked there, in one commit, and each hears of its own."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, arrival, booked

from carbonbudget_operator.ledger import writer as module
from carbonbudget_operator.ledger.booking import BookingResult, CheckedReport
from carbonbudget_operator.ledger.ledger_engine import LedgerError
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server.wiring import make_pools
from carbonbudget_operator.server.worker_process import Setup
from carbonbudget_operator.settings import Settings


class NotThis(Exception):
    """What a reader may raise."""


async def test_what_waits_is_one_commit(engine: sa.Engine) -> None:
    writer = LedgerWriter(engine)
    with writer._lock:  # the first may be taken before the others have come
        waiting = [asyncio.ensure_future(booked(writer, a_report(node=f"node-{n}"))) for n in range(12)]
        await asyncio.sleep(0)
    assert set(await asyncio.gather(*waiting)) == {BookingResult.STORED}
    assert writer.batches <= 2
    writer.close()


async def test_a_batch_has_a_bound_and_an_end_waits_for_all(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BATCH", 10)
    writer = LedgerWriter(engine)
    with writer._lock:
        waiting = [asyncio.ensure_future(booked(writer, a_report(node=f"node-{n}"))) for n in range(45)]
        await asyncio.sleep(0)
    await asyncio.to_thread(writer.close)
    assert set(await asyncio.gather(*waiting)) == {BookingResult.STORED}
    assert writer.batches >= 5


async def test_reports_are_read_one_after_the_other_by_the_writers_thread(engine: sa.Engine) -> None:
    writer = LedgerWriter(engine)
    threads: list[str] = []

    def read() -> CheckedReport:
        threads.append(threading.current_thread().name)
        return arrival(a_report())

    fates = await asyncio.gather(*(writer.book(read) for _ in range(5)))
    assert sorted(fate.value for _, fate in fates) == ["duplicate"] * 4 + ["stored"]
    assert threads == ["ledger-writer"] * 5
    writer.close()


async def test_what_cannot_be_read_is_said_to_its_sender_and_to_no_other(engine: sa.Engine) -> None:
    writer = LedgerWriter(engine)

    def refuse() -> CheckedReport:
        raise NotThis("node-2")

    with writer._lock:
        asked = [booked(writer, a_report()), writer.book(refuse), booked(writer, a_report(node="node-3"))]
        waiting = [asyncio.ensure_future(one) for one in asked]
        await asyncio.sleep(0)
    first, second, third = await asyncio.gather(*waiting, return_exceptions=True)
    assert (first, third) == (BookingResult.STORED, BookingResult.STORED)
    assert isinstance(second, NotThis)
    assert await booked(writer, a_report(HOUR + 60)) is BookingResult.STORED
    writer.close()


async def test_what_takes_long_to_read_keeps_nobody_from_the_commit(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_SECONDS", 0.0)
    writer = LedgerWriter(engine)
    with writer._lock:
        waiting = [asyncio.ensure_future(booked(writer, a_report(node=f"node-{n}"))) for n in range(5)]
        await asyncio.sleep(0)
    assert set(await asyncio.gather(*waiting)) == {BookingResult.STORED}
    assert writer.batches == 5
    writer.close()


@pytest.mark.parametrize("raised", [SystemExit, StopIteration])
async def test_nothing_that_is_raised_ends_the_thread_or_leaves_its_sender_waiting(
    engine: sa.Engine, raised: type[BaseException]
) -> None:
    writer = LedgerWriter(engine)

    def read() -> CheckedReport:
        raise raised("at a report")

    with pytest.raises(RuntimeError, match="at a report"):
        await asyncio.wait_for(writer.book(read), 10)
    assert await booked(writer, a_report()) is BookingResult.STORED
    writer.close()


async def test_a_refused_report_is_in_nobodys_memory(engine: sa.Engine) -> None:
    """Hostile bodies are large, and cycles of garbage are looked for seldom."""
    writer = LedgerWriter(engine)

    class Body:
        """A mass of bytes."""

    async def refused() -> weakref.ref[Body]:
        body = Body()

        def read() -> CheckedReport:
            try:
                raise KeyError(str(body))
            except KeyError:
                raise NotThis("it is none") from None

        try:
            await writer.book(read)
        except NotThis:
            return weakref.ref(body)
        raise AssertionError("it was read")

    await booked(writer, a_report())
    gc.disable()
    try:
        left = await refused()
        await booked(writer, a_report(HOUR + 60))  # the thread holds what it read last until then
        assert left() is None
    finally:
        gc.enable()
    writer.close()


async def test_who_went_away_is_not_told_and_the_others_are(engine: sa.Engine) -> None:
    writer = LedgerWriter(engine)
    with writer._lock:
        waiting = [asyncio.ensure_future(booked(writer, a_report(node=f"node-{n}"))) for n in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
    assert await waiting[0] is BookingResult.STORED
    assert await waiting[2] is BookingResult.STORED
    assert await booked(writer, a_report(node="node-1")) is BookingResult.DUPLICATE
    writer.close()


async def test_reports_that_find_no_connection_are_all_refused_at_once_and_none_is_tried_alone(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ledger.db", pool_size=1, max_overflow=0, pool_timeout=0.2)
    make_tables(engine)
    writer, attempts = LedgerWriter(engine), list[int]()
    original = writer._booker.book
    writer._booker.book = lambda arrivals: attempts.append(len(arrivals)) or original(arrivals)  # type: ignore[method-assign]
    with engine.connect():  # somebody else has the only one
        with writer._lock:
            waiting = [asyncio.ensure_future(booked(writer, a_report(node=f"node-{n}"))) for n in range(12)]
            await asyncio.sleep(0)
        said = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(error) for error in said} == {
        "the ledger cannot store: all connections of this kind of work are in use"
    }
    assert sum(attempts) == 12  # each report once
    assert await booked(writer, a_report()) is BookingResult.STORED
    writer.close()
    engine.dispose()


async def test_connections_that_slow_questions_hold_take_none_from_200_reports(url: str) -> None:
    registry = CollectorRegistry()
    pools, people = make_pools(Setup(url, Settings()), registry)
    make_tables(pools.upkeep)
    writer = LedgerWriter(pools.ingest)
    others = [engine for engine in pools._engines if engine is not pools.ingest]
    with ExitStack() as held:
        for engine in others:
            for _ in range(engine.pool.size()):  # type: ignore[attr-defined]
                held.enter_context(engine.connect()).execute(sa.text("SELECT 1 FROM node"))
        with writer._lock:
            waiting = [asyncio.ensure_future(booked(writer, a_report(node=f"node-{n}"))) for n in range(200)]
            await asyncio.sleep(0)
        assert set(await asyncio.gather(*waiting)) == {BookingResult.STORED}
    assert writer.batches <= 2  # the first may be taken before the others have come
    writer.close()
    people.close()
    pools.close()


async def test_a_report_does_not_wait_for_a_silent_ledger_for_ever(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.1)
    writer = LedgerWriter(engine)
    with writer._lock, pytest.raises(LedgerError, match="the database does not answer"):
        await booked(writer, a_report())
    monkeypatch.undo()
    assert await booked(writer, a_report()) is BookingResult.DUPLICATE  # it was stored when the ledger answered again
    writer.close()
