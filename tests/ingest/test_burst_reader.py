"""What many agents say at once is taken in bursts; few and others are never made to wait, and none hears of another.

Each on the loop and transport of the real server (uvloop, TLS) and on asyncio's own without TLS.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.controller.api_server import eventually
from tests.ingest.test_connection_limits import GET, App, Running, Stream, ask, running, tls

from carbonbudget_operator.ingest import burst_reader, connection_limits
from carbonbudget_operator.ingest.burst_reader import BurstReader
from carbonbudget_operator.ingest.connection_limits import BoundedApplication, belongs_to
from carbonbudget_operator.ingest.connection_peers import PeerKind

OK = b"HTTP/1.1 200 OK"
FOR_EVER = 3600.0
Serve = Callable[..., AbstractAsyncContextManager[Running]]


class OfAgents:
    """Authenticates each request as an agent's, except those of /people."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] != "/people":
            belongs_to(scope, PeerKind.AGENT, "node-1")
        await self._app(scope, receive, send)


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test on each: `serve` is a real uvicorn behind a reader, and a burst comes when the test says so."""

    @pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(burst_reader, "_COLLECT_SECONDS", FOR_EVER)
        trust, files = tls(tmp_path) if new_loop is uvloop.new_event_loop else (None, {})

        def serve(made: BurstReader, app: Any = None) -> AbstractAsyncContextManager[Running]:
            return running(
                BoundedApplication(OfAgents(app or App())),
                http=made.connection,
                trust=trust,
                timeout_keep_alive=60,
                **files,
            )

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(serve, monkeypatch))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def many(server: Running, made: BurstReader, number: int = 12) -> list[Stream]:
    """Connections of which so many have spoken that what they say from here on is let gather."""
    streams = [await server.connect() for _ in range(number)]
    assert [await ask(stream) for stream in streams] == [OK] * number  # from here on they are agents
    assert not made._collecting
    more = burst_reader._SEVERAL - len(made._recent)
    said = asyncio.gather(*(ask(stream) for stream in streams))
    await eventually(lambda: made._collecting)
    await eventually(lambda: len(made._collected) == number - more)
    made.pass_on()
    assert await said == [OK] * number
    return streams


async def asking(stream: Stream, made: BurstReader, request: bytes = GET) -> asyncio.Task[bytes]:
    """It has asked, and that lies at the reader."""
    waiting = asyncio.create_task(ask(stream, request))
    await eventually(lambda: made._collected)
    return waiting


def reset(stream: Stream) -> None:
    """Ends it by a TCP reset."""
    file = stream[1].get_extra_info("socket").fileno()
    with socket.fromfd(file, socket.AF_INET, socket.SOCK_STREAM) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream[1].transport.abort()


def burst(made: BurstReader) -> None:
    made._burst(asyncio.get_running_loop())


@on_both_loops
async def test_few_connections_wait_for_nobody_however_much_they_say(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(BurstReader()) as server:
        streams = [await server.connect() for _ in range(burst_reader._SEVERAL - 1)]
        for _ in range(20):
            assert [await ask(stream) for stream in streams] == [OK] * len(streams)


@on_both_loops
async def test_while_many_speak_what_they_say_is_taken_together(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    made = BurstReader()
    async with serve(made) as server:
        streams = await many(server, made)
        for _ in range(3):
            waiting = [asyncio.create_task(ask(stream)) for stream in streams]
            await eventually(lambda: len(made._collected) == len(streams))
            assert not any(task.done() for task in waiting)
            burst(made)
            assert await asyncio.gather(*waiting) == [OK] * len(streams)
            assert made._collecting


@on_both_loops
async def test_people_neither_wait_nor_make_agents_wait_however_many_they_are(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked = BurstReader(), b"GET /people HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serve(made) as server:
        agent, people = await server.connect(), [await server.connect() for _ in range(50)]
        for _ in range(3):
            answers = await asyncio.gather(*(ask(stream, asked) for stream in people), ask(agent))
            assert answers == [OK] * 51
            assert not made._collecting
        waiting = await asking((await many(server, made))[0], made)
        assert await asyncio.gather(*(ask(stream, asked) for stream in people)) == [OK] * 50
        assert not waiting.done()
        burst(made)
        assert await waiting == OK


@on_both_loops
async def test_a_burst_comes_by_itself(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    made = BurstReader()
    async with serve(made) as server:
        streams = await many(server, made)
        monkeypatch.setattr(burst_reader, "_COLLECT_SECONDS", 0.1)
        made._collect(asyncio.get_running_loop())
        waiting = [ask(stream) for stream in streams]
        assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [OK] * len(streams)


@on_both_loops
async def test_once_few_speak_nobody_waits_any_more(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    made = BurstReader()
    async with serve(made) as server:
        streams = await many(server, made)
        waiting = await asking(streams[0], made)
        burst(made)
        assert await waiting == OK
        assert not made._collecting
        assert await ask(streams[0]) == OK


@on_both_loops
async def test_a_request_in_pieces_stays_in_order(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    made = BurstReader()
    async with serve(made) as server:
        streams = await many(server, made)
        for at, letter in enumerate(GET):
            streams[0][1].write(bytes([letter]))
            await eventually(lambda at=at: len(made._collected) == at + 1)  # type: ignore[misc]
        made.pass_on()
        assert await ask(streams[0], b"") == OK


@on_both_loops
async def test_two_requests_at_once_are_answered_one_after_the_other(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = BurstReader()
    async with serve(made) as server:
        streams = await many(server, made)
        waiting = await asking(streams[0], made, GET + GET)
        burst(made)
        assert await waiting == OK
        assert await ask(streams[0], b"") == OK


@on_both_loops
async def test_much_that_is_said_waits_for_no_burst(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by a megabyte, not by what a network carries in a tenth of a second."""
    made = BurstReader()
    async with serve(made) as server:
        streams = await many(server, made)
        long = GET[:-2] + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000
        assert await asyncio.wait_for(ask(streams[0], long), 10) == OK


@on_both_loops
async def test_what_was_said_comes_before_another_ones_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    made = BurstReader()
    async with serve(made) as server:
        streams = await many(server, made)
        waiting = await asking(streams[0], made)
        streams[1][1].close()
        assert await asyncio.wait_for(waiting, 10) == OK


@on_both_loops
async def test_what_was_said_comes_before_its_own_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks and goes: it is asked for, as it would be without a reader."""
    made, asked = BurstReader(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/last":
            asked.set()
        await App()(scope, receive, send)

    async with serve(made, app) as server:
        streams = await many(server, made)
        streams[0][1].write(b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: made._collected)
        streams[0][1].transport.abort()
        await asyncio.wait_for(asked.wait(), 10)


@on_both_loops
async def test_what_was_said_before_the_server_ends_is_answered(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    made, app = BurstReader(), App()
    async with serve(made, app) as server:
        streams = await many(server, made)
        waiting = await asking(streams[0], made)
        server.server.should_exit = True
        assert await asyncio.wait_for(waiting, 10) == OK


@on_both_loops
async def test_who_asks_as_its_connection_is_about_to_end_is_answered(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = BurstReader()
    async with serve(made) as server:
        streams = await many(server, made)
        waiting = await asking(streams[0], made)
        made._collected[0][0].timeout_keep_alive_handler()
        assert await asyncio.wait_for(waiting, 10) == OK


@on_both_loops
async def test_one_whose_data_cannot_be_taken_ends_alone(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    made = BurstReader()
    told: list[dict[str, Any]] = []
    async with serve(made) as server:
        streams = await many(server, made)
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        waiting = [asyncio.create_task(ask(stream)) for stream in streams]
        await eventually(lambda: len(made._collected) == len(streams))
        monkeypatch.setattr(made._collected[0][0], "data_received", lambda data: 1 // 0)
        burst(made)
        answers = await asyncio.gather(*waiting)
        assert sorted(answers) == [b""] + [OK] * (len(streams) - 1)
    assert [type(context["exception"]) for context in told if "exception" in context] == [ZeroDivisionError]


@on_both_loops
async def test_a_connection_that_ended_is_in_nobodys_memory(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may open and close thousands, and cycles of garbage are looked for seldom."""
    made: list[weakref.ref[connection_limits.ClientConnection]] = []
    first = connection_limits.ClientConnection.connection_made

    def seen(self: connection_limits.ClientConnection, transport: Any) -> None:
        made.append(weakref.ref(self))
        first(self, transport)

    monkeypatch.setattr(connection_limits.ClientConnection, "connection_made", seen)
    async with serve(BurstReader()) as server:
        gc.collect()
        gc.disable()
        try:
            for at in range(6):
                stream = await server.connect()
                assert await ask(stream) == OK
                if at % 2:
                    reset(stream)
                else:
                    stream[1].close()
                    await stream[1].wait_closed()
            await eventually(lambda: not server.server.server_state.connections)
            await eventually(lambda: not any(ref() for ref in made))
        finally:
            gc.enable()
    assert len(made) == 6
