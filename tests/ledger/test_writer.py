"""The writer's batches: under a load the next one is let grow, and nobody waits for it elsewhere."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, arrival

from carbonbudget_operator.ledger import writer as module
from carbonbudget_operator.ledger.book import Booked
from carbonbudget_operator.ledger.writer import Writer

Answers = list["asyncio.Future[Booked]"]


async def queued(writer: Writer, number: int, minute: int) -> Answers:
    """So many reports that wait together."""
    reports = (a_report(HOUR + 60 * minute, node=f"node-{node}") for node in range(number))
    answers = [asyncio.ensure_future(writer.book(arrival(report))) for report in reports]
    await asyncio.sleep(0)
    return answers


async def test_after_a_batch_of_many_what_comes_within_the_pause_is_one_commit(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GATHER_SECONDS", 2.0)
    writer = Writer(engine)
    with writer._lock:
        first = await queued(writer, 12, 0)
    await asyncio.gather(*first)
    before = writer.batches
    later: Answers = []
    for minute in range(1, 6):
        later += await queued(writer, 1, minute)
        await asyncio.sleep(0.01)
    await asyncio.gather(*later)
    assert writer.batches == before + 1
    writer.close()


async def test_a_lone_report_waits_for_nobody(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GATHER_SECONDS", 3600.0)
    writer = Writer(engine)
    for minute in range(3):
        assert await writer.book(arrival(a_report(HOUR + 60 * minute))) is Booked.STORED
    writer.close()


async def test_where_a_whole_batch_waits_already_there_is_no_pause_and_an_end_waits_for_none(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(module, "_MAX_BATCH", 10)
    writer = Writer(engine)
    with writer._lock:
        answers = await queued(writer, 45, 0)
    await asyncio.gather(*answers[:25])
    await asyncio.to_thread(writer.close)
    assert set(await asyncio.gather(*answers)) == {Booked.STORED}
