"""What many connections say at once is taken in bursts; few are never made to wait, and none hears of another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.controller.api_server import eventually
from tests.ingest.test_connections import GET, App, Running, Stream, ask, running

from carbonbudget_operator.ingest import door
from carbonbudget_operator.ingest.connections import Bounded
from carbonbudget_operator.ingest.door import Door

OK = b"HTTP/1.1 200 OK"
FOR_EVER = 3600.0


async def many(server: Running, number: int = 12) -> list[Stream]:
    """Connections that have spoken, all within one tenth of a second or what stands for it."""
    streams = [await server.connect() for _ in range(number)]
    assert [await ask(stream) for stream in streams[: door._SEVERAL - 1]] == [OK] * (door._SEVERAL - 1)
    return streams


async def test_few_connections_wait_for_nobody_however_much_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_GATHER_SECONDS", FOR_EVER)
    async with running(Bounded(App())) as server:
        streams = await many(server, door._SEVERAL - 1)
        for _ in range(20):
            assert [await ask(stream) for stream in streams] == [OK] * len(streams)


async def test_while_many_speak_what_they_say_is_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_GATHER_SECONDS", 0.5)
    made = Door()
    async with running(Bounded(App()), http=made.connection) as server:
        streams = await many(server)
        assert await ask(streams[-1]) == OK  # the eighth that speaks: from here on it gathers
        waiting = [asyncio.create_task(ask(stream)) for stream in streams]
        await eventually(lambda: len(made._said) == len(streams))
        assert not any(task.done() for task in waiting)
        assert await asyncio.gather(*waiting) == [OK] * len(streams)


async def test_once_few_speak_nobody_waits_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_GATHER_SECONDS", 0.2)
    made = Door()
    async with running(Bounded(App()), http=made.connection) as server:
        streams = await many(server)
        assert await ask(streams[-1]) == OK
        assert made._gathering
        assert await ask(streams[0]) == OK  # alone in its burst
        assert not made._gathering
        monkeypatch.setattr(door, "_GATHER_SECONDS", FOR_EVER)
        assert await ask(streams[0]) == OK


async def test_a_request_in_pieces_stays_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_GATHER_SECONDS", FOR_EVER)
    made = Door()
    async with running(Bounded(App()), http=made.connection) as server:
        streams = await many(server)
        assert await ask(streams[-1]) == OK
        for at, letter in enumerate(GET):
            streams[0][1].write(bytes([letter]))
            await eventually(lambda at=at: len(made._said) == at + 1)  # type: ignore[misc]
        made.pass_on()
        assert await ask(streams[0], b"") == OK


async def test_much_that_is_said_waits_for_no_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by a megabyte, not by what a network carries in a tenth of a second."""
    monkeypatch.setattr(door, "_GATHER_SECONDS", FOR_EVER)
    async with running(Bounded(App())) as server:
        streams = await many(server)
        assert await ask(streams[-1]) == OK
        long = GET[:-2] + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000
        assert await asyncio.wait_for(ask(streams[0], long), 10) == OK


async def test_what_was_said_before_an_end_comes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_GATHER_SECONDS", FOR_EVER)
    app = App()
    async with running(Bounded(app)) as server:
        streams = await many(server)
        assert await ask(streams[-1]) == OK
        waiting = asyncio.create_task(ask(streams[0]))
        await asyncio.sleep(0)
        streams[1][1].close()  # another one's end: all that gathered comes before it
        assert await asyncio.wait_for(waiting, 10) == OK


async def test_one_whose_data_cannot_be_taken_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_GATHER_SECONDS", 0.3)
    made = Door()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with running(Bounded(App()), http=made.connection) as server:
        streams = await many(server)
        assert await ask(streams[-1]) == OK
        waiting = [asyncio.create_task(ask(stream)) for stream in streams]
        await eventually(lambda: len(made._said) == len(streams))
        broken = made._said[0][0]
        monkeypatch.setattr(broken, "data_received", lambda data: 1 // 0)
        answers = await asyncio.gather(*waiting)
        assert sorted(answers) == [b""] + [OK] * (len(streams) - 1)
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]
