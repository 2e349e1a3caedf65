"""Who waits for whom: threads of one kind of question are nobody else's, and no caller takes all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.controller.api_server import eventually
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server import turns
from carbonbudget_operator.server.turns import Turns
from carbonbudget_operator.server.worker_pools import WorkerPool

QUESTION = {"queries": [{"id": "q", "namespaces": ["team-a"], "start": HOUR, "end": HOUR + 3600}]}


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


class Busy:
    """Takes turns of a pool until it is let go."""

    def __init__(self, pool: WorkerPool, threads: int = 1) -> None:
        self._pool, self._threads = pool, threads
        self._go, self._held = threading.Event(), threading.Semaphore(0)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.create_task(self._work(f"busy-{number}")) for number in range(self._threads)]
        for _ in self._tasks:
            await asyncio.to_thread(self._held.acquire)

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        await asyncio.gather(*self._tasks)

    async def _work(self, who: str) -> None:
        async with self._pool.turn(who):
            await self._pool.run(self._hold)

    def _hold(self) -> None:
        self._held.release()
        assert self._go.wait(30)


async def test_probes_and_reports_are_answered_while_all_readers_are_busy(face: Face) -> None:
    async with (
        Busy(face.pools.operator, 2),
        face.pools.people.turn("a"),
        face.pools.people.turn("b"),
    ):
        assert (await face.client.get("/readyz")).status_code == 200
        metrics = await face.client.get("/metrics", headers={"Authorization": "Bearer user:prometheus@x"})
        assert metrics.status_code == 200
        assert (await face.report(a_report())).json() == {"result": "stored"}


async def test_the_controllers_questions_do_not_wait_for_other_peoples(face: Face) -> None:
    async with face.pools.people.turn("a"), face.pools.people.turn("b"):
        assert (await face.ask("user:controller@*")).status_code == 200


async def test_budgets_are_answered_while_questions_about_targets_take_all_of_their_threads(face: Face) -> None:
    """What targets cost depends on what tenants' pods post, and blocks lapse where budgets have no answer."""
    target = {
        "id": "t", "namespaces": ["team-a"], "source": {"client": "images"},
        "spans": [{"start": HOUR, "end": HOUR + 3600}],
    }  # fmt: skip
    assert (await face.report(a_report())).status_code == 200
    headers = {"Authorization": "Bearer user:controller@*"}
    async with Busy(face.pools.targets, 2):
        asked = asyncio.create_task(face.client.post("/v1/targets/query", json={"queries": [target]}, headers=headers))
        assert (await face.ask("user:controller@*")).status_code == 200
        assert not asked.done()
    assert (await asked).status_code == 200
    async with Busy(face.pools.operator, 2):
        answer = await face.client.post("/v1/targets/query", json={"queries": [target]}, headers=headers)
        assert answer.status_code == 200


async def test_many_probes_are_one_look_at_the_ledger(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    queries = face.pools.ledger_checks.queries
    monkeypatch.setattr(queries, "data_through", lambda: looks.append(1))
    answers = await asyncio.gather(*(face.client.get("/readyz") for _ in range(200)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(looks) == 1


async def test_a_ledger_that_does_not_answer_is_a_sentence_whose_reason_is_in_the_log(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    with face.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE node_span RENAME TO gone")
    for answer in (await face.client.get("/readyz"), await face.ask()):
        assert answer.status_code == 503
        assert answer.json()["reason"].startswith("the ledger does not answer: try again later")
        assert "node_span" not in answer.text
    assert "no such table" in caplog.text


def a_pool(threads: int, each: int, waiting: int) -> WorkerPool:
    return WorkerPool("questions", cast(Any, None), threads, each, waiting)


async def test_one_callers_questions_wait_while_anothers_run() -> None:
    pool = a_pool(threads=2, each=1, waiting=8)
    order: list[str] = []

    async def question(who: str) -> None:
        async with pool.turn(who):
            order.append(who)
            await go.wait()

    go = asyncio.Event()
    tasks = [asyncio.create_task(question(who)) for who in ("a", "a", "a", "b", "c")]
    await eventually(lambda: len(order) == 2)
    assert order == ["a", "b"]
    go.set()
    await asyncio.gather(*tasks)
    assert sorted(order[2:]) == ["a", "a", "c"]
    pool.close()


async def test_beyond_the_queue_a_question_is_told_to_come_again() -> None:
    pool = a_pool(threads=1, each=1, waiting=1)
    async with Busy(pool):
        waiting = asyncio.create_task(pool.turn("b").__aenter__())
        await eventually(lambda: pool._turns._waiting)
        with pytest.raises(Refusal, match="1 of them wait already") as refused:
            await pool.turn("c").__aenter__()
        assert (refused.value.status, refused.value.retry_after_s) == (503, 5)
    await waiting
    pool.close()


async def test_a_question_does_not_wait_for_ever_and_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_WAIT_SECONDS", 0.05)
    pool = a_pool(threads=1, each=1, waiting=1)
    async with Busy(pool):
        for _ in range(3):
            with pytest.raises(Refusal, match="waited"):
                await pool.turn("b").__aenter__()
    async with pool.turn("b"):
        assert await pool.run(lambda: 42) == 42
    pool.close()


async def test_a_turn_that_comes_in_the_moment_of_its_end_is_given_back() -> None:
    pool = a_pool(threads=1, each=1, waiting=1)
    first = pool.turn("a")
    await first.__aenter__()
    waiting = asyncio.create_task(pool.turn("b").__aenter__())
    await eventually(lambda: pool._turns._waiting)
    await first.__aexit__(None, None, None)  # b has the turn, and does not know
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with pool.turn("c"):
        pass
    pool.close()


async def test_a_pause_begins_when_all_turns_have_ended_and_those_who_waited_come_after_it() -> None:
    turns, told, go_on = Turns("questions", 2, 2, 8), list[str](), asyncio.Event()

    async def ask(who: str) -> None:
        async with turns.turn(who):
            told.append(f"{who} begins")
            await go_on.wait()

    async def pause() -> None:
        async with turns.paused(30):
            told.append("pause")

    first = asyncio.create_task(ask("first"))
    await eventually(lambda: told)
    pausing = asyncio.create_task(pause())
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(ask(f"later-{number}")) for number in range(2)]
    await eventually(lambda: turns.has_waiting)
    assert told == ["first begins"]
    go_on.set()
    await asyncio.gather(first, pausing, *waiting)
    assert told == ["first begins", "pause", "later-0 begins", "later-1 begins"]


async def test_a_pause_waits_for_a_long_turn_no_longer_than_it_may() -> None:
    turns = Turns("questions", 1, 1, 8)
    async with turns.turn("long"), turns.paused(0.01):
        pass
    async with asyncio.timeout(10), turns.turn("next"):
        pass
