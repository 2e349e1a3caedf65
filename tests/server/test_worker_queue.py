"""People's questions run in processes of their own: what one question does harms no report, probe or other question."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.controller.api_server import eventually
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report
from tests.postgres import PostgresServer
from tests.server.server_face import Face, a_face, a_server
from tests.server.slow import OneForkOnly, SlowAnswers

from carbonbudget_operator.ledger.ledger_engine import open_ledger, read_only
from carbonbudget_operator.server.question import Question
from carbonbudget_operator.server.worker_queue import Worker
from carbonbudget_operator.server_settings import QuestionSettings

ROOT = Path(__file__).resolve().parent.parent.parent
MakeFace = Callable[..., AbstractAsyncContextManager[Face]]
TENANT, OTHER = "user:dev@team-a", "user:dev@team-b"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # a worker's answers are tests.server.slow


@pytest.fixture
async def face(url: str) -> AsyncIterator[Face]:
    async with a_face(url, QuestionSettings(), SlowAnswers) as made:
        assert (await made.report(a_report())).status_code == 200
        yield made


def ask(face: Face, what: str, token: str = TENANT) -> asyncio.Task[httpx.Response]:
    namespace = token.partition("@")[2]
    return asyncio.create_task(face.ask(token, id=what, namespaces=["team-a" if namespace == "*" else namespace]))


def busy(face: Face) -> set[int]:
    """The workers that have a question."""
    return {worker.pid for worker in face.people.workers - set(face.people._idle)}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def probe_seconds(face: Face) -> float:
    began = time.monotonic()
    assert (await face.client.get("/readyz")).status_code == 200
    return time.monotonic() - began


async def stop(tasks: list[asyncio.Task[httpx.Response]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_six_month_long_questions_of_one_tenant_delay_nobody_else(face: Face) -> None:
    assert (await ask(face, "warm", OTHER)).status_code == 200
    slow = [ask(face, "slow") for _ in range(6)]
    await eventually(lambda: sum(task.done() for task in slow) == 2 and len(busy(face)) == 1)
    refused = [task.result() for task in slow if task.done()]
    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in refused} == {(503, "2")}
    assert min([await probe_seconds(face) for _ in range(5)]) < 0.2  # others use this machine too
    assert (await ask(face, "q", OTHER)).status_code == 200
    assert (await ask(face, "q", "user:sre@*")).status_code == 200
    assert (await face.ask("user:controller@*")).status_code == 200
    assert (await face.report(a_report(HOUR + 60))).json() == {"result": "stored"}
    await stop(slow)


async def test_a_probe_does_not_wait_for_a_ledger_that_is_slow_and_answered_before(face: Face) -> None:
    await probe_seconds(face)
    go, begun = threading.Event(), threading.Event()
    queries = face.pools.ledger_checks.queries
    queries.data_through = lambda: begun.set() or go.wait(30)  # type: ignore[method-assign, assignment, func-returns-value]
    try:
        while not begun.is_set():  # a former look serves for a second
            await probe_seconds(face)
            await asyncio.sleep(0.05)
        assert min([await probe_seconds(face) for _ in range(5)]) < 0.2
    finally:
        go.set()


async def test_a_question_that_takes_too_long_is_ended_and_its_asker_told(url: str) -> None:
    async with a_face(url, QuestionSettings(seconds=1), SlowAnswers) as face:
        await face.people.start()
        slow = ask(face, "slow")
        await eventually(lambda: busy(face), seconds=60)
        (pid,) = busy(face)
        answer = await slow
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert answer.json()["reason"] == (
            "the answer takes longer than 1 s, which is the limit (server.questions.seconds): "
            "ask about a shorter time, or in parts"
        )
        await eventually(lambda: not runs(pid))
        assert (await ask(face, "q")).status_code == 200
        assert (await ask(face, "slow")).status_code == 503


async def test_a_worker_that_is_killed_in_a_question_is_replaced(face: Face) -> None:
    slow = ask(face, "slow")
    await eventually(lambda: busy(face), seconds=60)
    (pid,) = busy(face)
    os.kill(pid, signal.SIGKILL)
    answer = await slow
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "the process that made the answer ended" in answer.json()["reason"]
    assert (await ask(face, "q")).status_code == 200


async def test_who_goes_away_leaves_no_question_behind_and_no_place_in_the_queue(url: str) -> None:
    async with a_server(url, QuestionSettings(), SlowAnswers) as made:
        people = made.people
        gone = asyncio.Event()
        body = json.dumps({"queries": [{"id": "slow", "namespaces": ["team-a"], "start": HOUR, "end": HOUR + 60}]})

        async def request() -> None:
            parts = iter([{"type": "http.request", "body": body.encode(), "more_body": False}])

            async def receive() -> dict[str, Any]:
                for part in parts:
                    return part
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(_: object) -> None:
                pass

            headers = [(b"authorization", b"Bearer " + TENANT.encode())]
            scope = {
                "type": "http", "method": "POST", "path": "/v1/budgets/query", "raw_path": b"", "query_string": b"",
                "headers": headers, "http_version": "1.1", "scheme": "https", "server": ("server", 443), "client": None,
            }  # fmt: skip
            await made.app(scope, receive, send)  # type: ignore[arg-type] # as a server calls it

        asking = [asyncio.create_task(request()) for _ in range(2)]
        await eventually(lambda: len(people.workers) == 1 and people._turns._waiting, seconds=60)
        (worker,) = people.workers
        gone.set()
        await asyncio.gather(*asking)
        await eventually(lambda: not runs(worker.pid))
        assert (people._turns._waiting, people._turns._running.total(), len(people.workers)) == ([], 0, 0)


async def test_a_worker_that_ended_between_two_questions_is_not_asked(face: Face) -> None:
    assert (await ask(face, "q")).status_code == 200
    (worker,) = face.people.workers
    os.kill(worker.pid, signal.SIGKILL)
    await eventually(lambda: not runs(worker.pid))
    assert (await ask(face, "q")).status_code == 200


@pytest.mark.usefixtures("new_templates")
async def test_without_the_process_that_workers_are_forked_from_another_one_is_started(face: Face) -> None:
    assert (await ask(face, "q")).status_code == 200
    (worker,) = face.people.workers
    template = face.people._template._process
    assert template is not None
    template.kill()
    await eventually(lambda: not runs(worker.pid))  # its worker goes with it
    assert (await ask(face, "q")).status_code == 503
    assert (await ask(face, "q")).status_code == 200


async def test_a_question_that_needs_too_much_memory_is_told_so_and_harms_nobody(face: Face) -> None:
    answer = await ask(face, "large")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "needs more than 192 MiB of memory, which is the limit" in answer.json()["reason"]
    assert (await ask(face, "q")).status_code == 200


async def test_a_worker_cannot_write_to_the_ledger(face: Face, capfd: pytest.CaptureFixture[str]) -> None:
    answer = await ask(face, "write")
    assert answer.status_code == 503
    # "attempt to write a readonly database", "read-only transaction": in the worker's log
    assert re.search("readonly|read-only", capfd.readouterr().err)
    with face.engine.connect() as connection:
        assert "mine" not in sa.inspect(connection).get_table_names()


def test_a_reading_connection_changes_nothing(url: str) -> None:
    engine = open_ledger(url)
    make_tables(engine)
    reading = read_only(engine, 10)
    for statement in ("INSERT INTO node (cluster, name) VALUES ('a', 'b')", "DROP TABLE node"):
        with pytest.raises(sa.exc.DBAPIError, match="read"), reading.begin() as connection:
            connection.exec_driver_sql(statement)
    reading.dispose()
    engine.dispose()


async def test_a_worker_that_is_killed_leaves_no_statement_in_the_database(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_face(postgres.database(), QuestionSettings(seconds=1), SlowAnswers) as face:

        def sleeping() -> int:
            with face.engine.connect() as connection:
                statement = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
                return int(connection.scalar(sa.text(statement)) or 0)

        await face.people.start()
        asking = ask(face, "sleep")
        await eventually(sleeping, seconds=60)
        assert (await asking).status_code == 503
        await eventually(lambda: not sleeping(), seconds=20)


async def test_a_person_who_may_read_the_whole_cluster_makes_no_cut(face: Face) -> None:
    assert (await face.ask("user:sre@*", start=HOUR + 1001)).status_code == 200
    with face.engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT at FROM cut")).all() == []


async def test_a_worker_runs_at_low_priority(face: Face) -> None:
    assert (await ask(face, "q")).status_code == 200
    (worker,) = face.people.workers
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)


async def test_a_worker_without_a_question_ends(url: str) -> None:
    async with a_face(url, QuestionSettings(idle_seconds=1), SlowAnswers) as face:
        assert (await ask(face, "q")).status_code == 200
        (worker,) = face.people.workers
        await eventually(lambda: not face.people.workers)
        await eventually(lambda: not runs(worker.pid))
        assert (await ask(face, "q")).status_code == 200


async def test_how_many_questions_run_and_wait_is_set(url: str) -> None:
    async with a_face(url, QuestionSettings(workers=1, waiting=1, wait_seconds=1), SlowAnswers) as face:
        slow = [ask(face, "slow")]
        await eventually(lambda: busy(face), seconds=60)
        slow.append(ask(face, "slow", OTHER))
        await eventually(lambda: face.people._turns._waiting)
        answer = await ask(face, "q", "user:sre@*")
        assert (answer.status_code, "1 of them wait already" in answer.json()["reason"]) == (503, True)
        answer = await slow[1]
        assert (answer.status_code, "waited 1 s" in answer.json()["reason"]) == (503, True)
        await stop(slow)


async def test_questions_with_a_body_that_waited_were_asked_before_the_first_of_them_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So they share its snapshot (test_worker_snapshots.py); the last tells the worker that nobody follows."""
    begun: list[tuple[float, Question]] = []
    sent = Worker.ask

    async def recorded(worker: Worker, question: Question) -> bytes:
        begun.append((time.monotonic(), question))
        return await sent(worker, question)

    monkeypatch.setattr(Worker, "ask", recorded)
    async with a_face(f"sqlite:///{tmp_path}/ledger.db", QuestionSettings(workers=1), SlowAnswers) as face:
        before = ask(face, "slow")
        await eventually(lambda: busy(face), seconds=60)
        waiting = [ask(face, "q", OTHER), ask(face, "q", "user:sre@*")]
        await eventually(lambda: len(face.people._turns._waiting) == 2)
        await stop([before])
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
    (_, slow), (first_began, first), (_, second) = begun
    assert second.asked_at < first_began
    assert [question.others_wait for question in (slow, first, second)] == [False, True, False]


@pytest.fixture
def server_with_a_question(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    engine.dispose()
    command = [sys.executable, "-m", "tests.server.slow", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(runs, pids))
        yield process, pids
        process.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
async def test_no_worker_outlives_its_server_however_that_ends(
    server_with_a_question: tuple[subprocess.Popen[str], list[int]], how: signal.Signals
) -> None:
    process, pids = server_with_a_question
    process.send_signal(how)
    await eventually(lambda: not any(map(runs, pids)))


async def test_a_database_that_does_not_answer_is_one_reason_for_all_and_nothing_is_lost(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_face(postgres.database(), QuestionSettings(), SlowAnswers) as face:
        assert (await face.report(a_report())).status_code == 200
        assert (await ask(face, "q")).status_code == 200
        postgres.freeze()
        monkeypatch.setattr("carbonbudget_operator.server.readiness._SILENT_SECONDS", 0.5)
        monkeypatch.setattr("carbonbudget_operator.ledger.writer._ANSWER_SECONDS", 1.0)
        try:
            in_flight = asyncio.create_task(face.report(a_report(HOUR + 60)))
            await readiness_is(face, 503)
            answers: list[Any] = [
                await in_flight,
                await face.client.get("/readyz"),
                await ask(face, "q"),
                await ask(face, "q", "user:sre@*"),
                await face.ask("user:controller@*"),
                await face.report(a_report(HOUR + 120)),
            ]
        finally:
            postgres.thaw()
            monkeypatch.undo()
            monkeypatch.setenv("PYTHONPATH", str(ROOT))
        assert {(answer.status_code, answer.headers["Retry-After"]) for answer in answers} == {(503, "10")}
        (reason,) = {answer.json()["reason"] for answer in answers}
        assert "the database does not answer" in reason
        assert (await face.client.get("/healthz")).status_code == 200
        await readiness_is(face, 200)
        for start in (HOUR + 60, HOUR + 120):  # agents send again what they were refused
            assert (await face.report(a_report(start))).json()["result"] in ("stored", "duplicate")
        assert face.windows() == 3


async def readiness_is(face: Face, status: int) -> None:
    async with asyncio.timeout(30):
        while (await face.client.get("/readyz")).status_code != status:  # noqa: ASYNC110 - as a kubelet does
            await asyncio.sleep(0.05)


async def test_where_no_second_process_can_be_made_the_first_ones_question_goes_on(url: str) -> None:
    async with a_face(url, QuestionSettings(workers=2, seconds=30), OneForkOnly) as face:
        assert (await face.report(a_report())).status_code == 200
        assert (await ask(face, "q")).status_code == 200
        (first,) = face.people.workers
        slow = ask(face, "slow")
        await eventually(lambda: bool(busy(face)))
        refused = await ask(face, "q", OTHER)
        assert (refused.status_code, refused.json()["reason"]) == (
            503, "no process could be started to answer it: Resource temporarily unavailable: try again later"
        )  # fmt: skip
        assert not slow.done()
        assert runs(first.pid)
        await stop([slow])
