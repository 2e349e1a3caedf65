"""Every kind of work has a time limit, one worker's limits are nobody else's, and a refusal names the true reason."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.controller.api_server import eventually
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report
from tests.postgres import PostgresServer
from tests.server.server_face import Face, a_face
from tests.server.slow import SlowAnswers
from tests.server.test_worker_queue import TENANT, ask, runs

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.ledger_engine import bound_statements, open_ledger, read_only
from carbonbudget_operator.server.question import QueryAllowance, Question
from carbonbudget_operator.server.routes import query_handling
from carbonbudget_operator.server.worker_queue import Worker
from carbonbudget_operator.server_settings import QuestionSettings

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # a worker's answers are tests.server.slow


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
async def face(url: str) -> AsyncIterator[Face]:
    async with a_face(url, QuestionSettings(), SlowAnswers) as made:
        assert (await made.report(a_report())).status_code == 200
        yield made


@pytest.fixture
def stuck() -> Iterator[Any]:
    """A function that does not return before the test's end."""
    go = threading.Event()

    def wait(*_: object) -> Any:
        assert go.wait(30)

    yield wait
    go.set()


def a_question(body: bytes = b"") -> Question:
    return Question("budgets", HOUR, QueryAllowance(10, 10, 10, 10, 10_000), body)


@pytest.mark.parametrize("token", ["user:controller@*", TENANT])
async def test_a_body_that_takes_too_long_to_parse_is_refused(
    face: Face, stuck: Any, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_handling, "parse", stuck)
    monkeypatch.setattr(face.pools.operator, "_seconds", 0.2)
    monkeypatch.setattr(face.people, "_limits", QuestionSettings(seconds=1))
    answer = await ask(face, "q", token)
    assert answer.status_code == 503
    assert "takes longer than" in answer.json()["reason"]


@pytest.mark.parametrize("name", ["probes", "closing", "projections", "operator", "targets"])
async def test_every_pool_has_a_limit_for_all_that_it_runs(
    face: Face, stuck: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = getattr(face.pools, name)
    monkeypatch.setattr(pool, "_seconds", 0.1)
    for call in (pool.run, pool.ask):
        with pytest.raises(Refusal) as refused:
            await call(stuck)
        assert (refused.value.status, refused.value.kind in ("time", "busy")) == (503, True)


async def test_slow_python_is_not_called_a_database_that_does_not_answer(
    face: Face, stuck: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face.pools.operator, "_seconds", 0.2)
    monkeypatch.setattr(face.pools.operator._answers, "answer", stuck)
    reasons = [(await face.ask("user:controller@*")).json()["reason"] for _ in range(3)]
    assert reasons[0] == (
        "this takes longer than 0.2 s, which is the limit of questions of the operator: "
        "ask about a shorter time, or in parts"
    )
    # Both threads are taken now.
    assert reasons[2] == "questions of the operator are busy, no thread was free within 0.2 s: try again later"


async def test_a_question_under_way_when_the_database_falls_silent_names_the_database(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_face(postgres.database(), QuestionSettings(), SlowAnswers) as face:
        assert (await face.report(a_report())).status_code == 200
        monkeypatch.setattr("carbonbudget_operator.server.readiness._SILENT_SECONDS", 0.5)
        monkeypatch.setattr(face.pools.operator, "_seconds", 10.0)  # a busy machine notices the silence in it
        assert (await face.ask("user:controller@*")).status_code == 200
        postgres.freeze()
        try:
            asking = asyncio.create_task(face.ask("user:controller@*"))
            while not asking.done():
                await face.client.get("/readyz")
                await asyncio.sleep(0.1)
        finally:
            postgres.thaw()
        assert "the database does not answer" in asking.result().json()["reason"]


async def test_a_fork_that_hangs_is_within_the_questions_limit_and_delays_no_other_work(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_face(url, QuestionSettings(seconds=1), SlowAnswers) as face:
        go, original, forked = threading.Event(), face.people._template.fork, list[Worker]()

        def fork() -> Worker:
            assert go.wait(30)
            forked.append(original())
            return forked[-1]

        monkeypatch.setattr(face.people._template, "fork", fork)
        asking = asyncio.create_task(face.people.answer(a_question()))
        await asyncio.sleep(0)
        assert await asyncio.wait_for(face.people.run(lambda: 42), 10) == 42
        with pytest.raises(Refusal, match="no process could be started to answer it: it did not start within 1 s"):
            await asking
        go.set()
        await eventually(lambda: forked and not runs(forked[0].pid), seconds=60)  # nobody waits for it any more
        assert not face.people.workers


def pidfds() -> int:
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass  # the directory's own
    return sum("pidfd" in link for link in links)


@pytest.mark.usefixtures("new_templates")  # a forked one is known by a handle of its own
async def test_a_question_given_up_while_its_worker_is_connected_leaves_no_process_and_no_handle(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, connecting = pidfds(), asyncio.Event()

    async def hang(**_: object) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_unix_connection", hang)
    asking = asyncio.create_task(face.people.answer(a_question()))
    await asyncio.wait_for(connecting.wait(), 60)
    (worker,) = face.people.workers
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: not runs(worker.pid))
    assert (pidfds(), face.people.workers) == (before, set())


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_first_worker_is_one_of_as_many_as_are_allowed(url: str, workers: int) -> None:
    async with a_face(url, QuestionSettings(workers=workers), SlowAnswers) as face:
        warming = asyncio.create_task(face.people.start())
        await asyncio.sleep(0)
        asked = [ask(face, "q", f"user:dev-{n}@team-a") for n in range(3)]
        most = 0
        while not all(task.done() for task in asked):
            most = max(most, len(face.people.workers))
            await asyncio.sleep(0.001)
        await warming
        assert {task.result().status_code for task in asked} == {200}
        assert max(most, len(face.people.workers)) <= workers


async def test_a_question_that_is_too_large_to_receive_is_refused_for_its_memory(url: str) -> None:
    async with a_face(url, QuestionSettings(memory_mib=64), SlowAnswers) as face:
        for size in (50, 200):  # it fits once, and not beside its copy; it does not fit
            with pytest.raises(Refusal, match="needs more than 64 MiB of memory, which is the limit"):
                await face.people.answer(a_question(b" " * (size << 20)))
        assert (await ask(face, "q")).status_code == 200


async def test_the_database_ends_a_workers_statement_soon_after_the_questions_limit(postgres: PostgresServer) -> None:
    async with a_face(postgres.database(), QuestionSettings(seconds=20, report_seconds=70), SlowAnswers) as face:
        asked = a_question(b'{"queries": [{"id": "settings"}]}')
        assert await face.people.answer(asked) == b'["25s", "2s", "on"]'
        assert await face.people.answer(asked, long=True) == b'["75s", "2s", "on"]'
        assert await face.people.answer(asked) == b'["25s", "2s", "on"]'
        assert len(face.people.workers) == 1
        for pool, limit in ((face.pools.operator, "30s"), (face.pools.closing, "30s"), (face.pools.probes, "14s")):
            with pool.queries.book.engine.connect() as connection:
                assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == limit


@pytest.mark.parametrize("reading", [True, False])
def test_a_statement_beyond_its_limit_is_ended_also_after_a_rollback(postgres: PostgresServer, reading: bool) -> None:
    made = open_ledger(postgres.database())
    make_tables(made)
    engine = read_only(made, 600) if reading else made
    bound_statements(engine, 0.3)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(sa.exc.OperationalError, match="statement timeout"), engine.connect() as connection:
            connection.exec_driver_sql("SELECT pg_sleep(30)")
        assert time.monotonic() - began < 20
    engine.dispose()
    made.dispose()


async def test_a_projection_is_the_same_whoever_asks(face: Face) -> None:
    """A table is made of six more hours each minute, so each worker process would have another one."""
    face.clock[0] = HOUR + 13 * 3600
    for hour in range(1, 13):
        assert (await face.report(a_report(HOUR + 3600 * hour, pods={"p": 10**6 * hour**3}))).status_code == 200

    async def rates(token: str) -> Any:
        answer = await face.client.get("/v1/projection", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        return answer.json()["rates"]

    first = await rates("user:controller@*")
    face.clock[0] += 61
    whole = await rates("user:controller@*")
    assert whole != first  # of twelve hours, not of six
    face.clock[0] += 61
    assert await rates("user:sre@*") == whole
    assert await rates("user:controller@*") == whole
