"""A server whose ledger has the schema of another version is not ready, refuses all, and pauses its own work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from tests.exports.scripted_target import paced
from tests.ledger.reports import HOUR, a_report
from tests.ledger.test_other_schema import NEWEST, database, set_schema
from tests.server.server_face import Face, a_face
from tests.server.test_worker_queue import readiness_is

from carbonbudget_operator.ledger.ledger_engine import LedgerReplaced
from carbonbudget_operator.ledger.write_locks import OtherSchema
from carbonbudget_operator.server.background_steps import BackgroundSteps

__all__ = ["database"]
REPLACED = f"the ledger has another schema (9999, and this server has {NEWEST}): this server is being replaced"


@pytest.fixture
async def face(url: str) -> AsyncIterator[Face]:
    async with a_face(url) as made:
        yield made


async def test_a_server_of_another_schema_is_not_ready_and_says_why_to_all(face: Face) -> None:
    assert (await face.report(a_report())).status_code == 200
    await readiness_is(face, 200)
    set_schema(face.engine, "9999")
    await readiness_is(face, 503)
    for answer in (
        await face.client.get("/readyz"), await face.report(a_report(HOUR + 60)), await face.ask(),
    ):  # fmt: skip
        assert answer.status_code == 503
        assert REPLACED in answer.text
        assert answer.headers["Retry-After"] == "10"
    set_schema(face.engine, NEWEST)
    await readiness_is(face, 200)
    assert (await face.report(a_report(HOUR + 60))).json()["result"] == "stored"


class _Enough(BaseException):
    pass


async def steps(background: BackgroundSteps, calls: list[str | Exception], rounds: int) -> list[str]:
    """What was called in so many rounds; an exception in `calls` is what that call raises."""
    called: list[str] = []

    async def step() -> None:
        call = calls.pop(0)
        if isinstance(call, Exception):
            raise call
        called.append(call)

    async def sleep(_seconds: float) -> None:
        nonlocal rounds
        rounds -= 1
        if not rounds:
            raise _Enough

    with pytest.raises(_Enough):
        await background.every(30, "it cannot be done", step, sleep)
    return called


async def test_background_work_pauses_while_the_schema_is_another_and_that_is_logged_once(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock = [0.0]
    background = BackgroundSteps(engine, lambda: clock[0])
    assert await steps(background, ["a", "b"], 2) == ["a", "b"]
    await asyncio.to_thread(set_schema, engine, "9999")
    for _ in range(3):
        clock[0] += 30
        assert await steps(background, [], 2) == []
    (line,) = caplog.messages
    assert line.startswith(REPLACED)
    await asyncio.to_thread(set_schema, engine, NEWEST)
    clock[0] += 30
    assert await steps(background, ["c"], 1) == ["c"]
    assert caplog.messages[1:] == ["the ledger has the schema of this server: background work goes on"]


async def test_a_step_that_meets_the_other_schema_is_not_logged_beside_it_and_other_failures_are_once(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    background = BackgroundSteps(engine)
    of_unit = ValueError("unit of level 0")
    of_unit.__cause__ = OtherSchema("another schema")
    met: list[str | Exception] = [LedgerReplaced("another schema"), OtherSchema("another schema"), of_unit]
    assert await steps(background, [*met, "a"], 4) == ["a"]
    assert caplog.messages == []
    assert await steps(background, [ValueError("full"), ValueError("full"), "a", ValueError("full")], 4) == ["a"]
    assert caplog.messages == ["it cannot be done: full"] * 2


async def test_an_export_waits_for_the_schema_without_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    pauses, failures = await paced([LedgerReplaced("another schema")] * 2, caplog)
    assert (pauses, failures, caplog.messages) == ([30.0, 30.0], 0, [])
