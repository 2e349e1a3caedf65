"""SQLite's log is emptied beside people who always ask, and nobody waits long for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.controller.api_server import eventually
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.ledger.ledger_engine import LedgerError, snapshot
from carbonbudget_operator.ledger.write_ahead_log import log_bytes
from carbonbudget_operator.server import log_shortening
from carbonbudget_operator.server.log_shortening import shorten_log
from carbonbudget_operator.server_settings import QuestionSettings

PEOPLE = 6


@pytest.fixture
async def face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Face]:
    monkeypatch.setattr(log_shortening, "LONG_BYTES", 1)
    settings = QuestionSettings(workers=1)
    async with a_face(f"sqlite:///{tmp_path}/ledger.db", settings) as made:
        assert (await made.report(a_report())).status_code == 200
        yield made


async def test_the_log_is_emptied_while_people_ask_one_after_the_other(face: Face) -> None:
    answered = 0

    async def ask(person: int) -> None:
        nonlocal answered
        while True:
            assert (await face.ask(f"user:dev{person}@team-a", namespaces=["team-a"])).status_code == 200
            answered += 1

    asking = [asyncio.create_task(ask(number)) for number in range(PEOPLE)]
    try:
        for part in range(1, 4):
            assert (await face.report(a_report(HOUR + 60 * part))).status_code == 200
            assert log_bytes(face.engine) > 0
            await shorten_log(face.engine, face.people)
            assert log_bytes(face.engine) == 0
            wanted = answered + PEOPLE
            await eventually(lambda wanted=wanted: answered >= wanted, seconds=60)  # type: ignore[misc] # they go on
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_one_who_reads_all_the_time_is_told_of_and_people_go_on(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_shortening, "_EMPTY_SECONDS", 0.05)
    with snapshot(face.engine) as connection:
        connection.exec_driver_sql("SELECT count(*) FROM node").all()
        assert (await face.report(a_report(HOUR + 60))).status_code == 200
        with pytest.raises(LedgerError, match="there was always a reader, or no free thread"):
            await shorten_log(face.engine, face.people)
    assert (await face.ask("user:dev@team-a", namespaces=["team-a"])).status_code == 200


async def test_people_wait_no_longer_where_no_thread_is_free_to_empty_it(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_shortening, "_QUIET_SECONDS", 0.1)
    monkeypatch.setattr(log_shortening, "copy_log", lambda engine: held.append(pool.submit(time.sleep, 3)))
    held: list[object] = []
    pool = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(pool)
    with pytest.raises(LedgerError):
        await shorten_log(face.engine, face.people)
    async with asyncio.timeout(2), face.people.turn("somebody"):
        pass


async def test_a_short_log_stays_and_nobody_waits(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_shortening, "LONG_BYTES", 2**30)
    before = log_bytes(face.engine)
    await shorten_log(face.engine, face.people)
    assert log_bytes(face.engine) == before > 0
