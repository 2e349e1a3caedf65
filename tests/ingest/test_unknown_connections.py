"""Which connection of an unknown owner is cut: none that makes progress, while others have none to show."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from starlette.types import Receive, Scope, Send
from tests.controller.api_server import eventually
from tests.ingest.test_connection_limits import App, Stream, ask
from tests.ingest.test_connection_peers import OK, Line, Serve, on_tls

from carbonbudget_operator.ingest import burst_reader
from carbonbudget_operator.ingest.connection_limits import belongs_to
from carbonbudget_operator.ingest.connection_peers import ConnectionPeer, ConnectionPeers, PeerKind

STRANGERS = 50


class Herd:
    """Connections of as many addresses, in the order of their acceptance."""

    def __init__(self) -> None:
        self.peers = ConnectionPeers(8 * STRANGERS)
        self.lines: list[Line] = []
        self.made: list[ConnectionPeer] = []

    def accept(self, number: int, address: str = "") -> list[bool]:
        """Whether each of these newcomers was cut."""
        lines = [Line() for _ in range(number)]
        for line in lines:
            self.lines.append(line)
            self.made.append(ConnectionPeer(self.peers, address or f"10.0.0.{len(self.lines)}", line))
        return [line.is_cut for line in lines]

    @property
    def cut(self) -> list[int]:
        return [number for number, line in enumerate(self.lines) if line.is_cut]

    def rounds(self, number: int) -> None:
        self.peers.strangers.rounds += number


@pytest.fixture
def herd() -> Herd:
    return Herd()


def test_while_all_are_new_the_newcomer_is_cut_which_has_cost_nothing(herd: Herd) -> None:
    assert herd.accept(STRANGERS + 30) == [False] * STRANGERS + [True] * 30
    herd.rounds(9)
    assert herd.accept(5) == [True] * 5


def test_those_that_sent_nothing_for_ten_rounds_are_cut_and_the_oldest_of_them_first(herd: Herd) -> None:
    herd.accept(STRANGERS)
    herd.rounds(10)
    assert herd.accept(20) == [False] * 20
    assert herd.cut == list(range(20))


def test_a_request_under_way_is_not_cut_however_long_it_takes(herd: Herd) -> None:
    herd.accept(STRANGERS)
    for peer in herd.made[:40]:
        peer.asks()
    herd.rounds(1_000)
    assert herd.accept(100, "10.1.0.1").count(True) == 90  # it has 256 of its own, and cuts its own
    assert not any(line.is_cut for line in herd.lines[:40])
    for peer in herd.made[:40]:
        peer.belongs_to(PeerKind.AGENT, "node-1")


def test_if_all_have_a_request_under_way_the_newcomer_is_cut(herd: Herd) -> None:
    herd.accept(STRANGERS)
    for peer in herd.made:
        peer.asks()
    herd.rounds(1_000)
    assert herd.accept(3) == [True] * 3
    assert herd.accept(3, "10.0.0.1") == [True] * 3
    assert len(herd.cut) == 6


def test_one_that_was_answered_and_is_unknown_is_cut_first_and_gets_no_more_time_by_asking_again(herd: Herd) -> None:
    herd.accept(STRANGERS)
    refused = herd.made[30]
    refused.asks()
    refused.is_answered()
    refused.asks()
    assert herd.accept(1) == [False]
    assert herd.cut == [30]


def test_an_address_with_many_loses_its_oldest_before_anybody_is_late(herd: Herd) -> None:
    herd.accept(20)
    herd.accept(30, "10.1.0.1")
    assert herd.accept(10) == [False] * 10
    assert herd.cut == list(range(20, 30))


def test_an_address_loses_its_own_beyond_its_limit_and_none_that_has_a_request_under_way() -> None:
    peers = ConnectionPeers(8_000)  # 1,000 strangers, 256 of one address
    lines = [Line() for _ in range(256)]
    made = [ConnectionPeer(peers, "10.0.0.1", line) for line in lines]
    for peer in made[:10]:
        peer.asks()
    for _ in range(5):
        ConnectionPeer(peers, "10.0.0.1", Line())
    assert [number for number, line in enumerate(lines) if line.is_cut] == list(range(10, 15))


@pytest.mark.parametrize("steps", ["", "a", "aw", "k", "ak", "awa", "awak"])
def test_whatever_a_connection_did_it_leaves_no_trace(herd: Herd, steps: str) -> None:
    """a: it asks, w: it is answered, k: its owner is known."""
    herd.accept(STRANGERS)
    for peer in herd.made:
        for step in steps:
            if step == "k":
                peer.belongs_to(PeerKind.CALLER, "jane")
            else:
                (peer.asks if step == "a" else peer.is_answered)()
        peer.is_answered()
        peer.asks()
        peer.left()
    strangers = herd.peers.strangers
    assert (strangers._count, strangers._counts, strangers._idle, strangers._new, strangers._answered) == (
        0, {}, {}, {}, {},
    )  # fmt: skip


class Reviewed(App):
    """A request is an agent's once its review has ended; one for /none is answered and stays a stranger's."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.under_way += 1
        await self.go.wait()
        if scope["path"] != "/none":
            belongs_to(scope, PeerKind.AGENT, f"node-{id(scope)}")
        await super().__call__(scope, receive, send)


def connected(port: int, addresses: list[str], said: bytes = b"") -> list[socket.socket]:
    """Plain connections, each from an address of its own."""
    made = []
    for address in addresses:
        made.append(socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(address, 0)))
        made[-1].setblocking(False)
        if said:
            made[-1].sendall(said)
    return made


async def an_answer(connect: Callable[[], object], tries: int = 300) -> None:
    """An agent that connects again until its report is stored."""
    for _ in range(tries):
        try:
            stream: Stream = await connect()  # type: ignore[misc] # a coroutine
        except OSError:
            await asyncio.sleep(0.05)
            continue
        if await ask(stream) == OK:
            return
    raise AssertionError("it was never answered")


@on_tls
async def test_under_a_slow_review_no_request_is_lost_however_many_connect_meanwhile(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, peers = Reviewed(), ConnectionPeers(80)  # 10 strangers
    app.go.clear()
    async with serve(app, peers) as server:
        asked = [asyncio.create_task(ask(await server.connect())) for _ in range(9)]
        await eventually(lambda: app.under_way == 9)
        held = connected(server.port, [f"127.0.1.{number}" for number in range(1, 101)])
        await eventually(lambda: peers.cut >= 99)
        app.go.set()
        assert await asyncio.gather(*asked) == [OK] * 9
        for connection in held:
            connection.close()


@on_tls
async def test_connections_of_many_addresses_that_never_end_their_handshake_keep_no_agent_out(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burst_reader, "_ROUND_SECONDS", 0.02)
    for said in (b"", b"\x16\x03\x01"):
        peers = ConnectionPeers(80)
        async with serve(Reviewed(), peers) as server:
            held = connected(server.port, [f"127.0.1.{number}" for number in range(1, 41)], said)
            await eventually(lambda: peers.cut >= 30)  # noqa: B023
            for _ in range(3):
                await an_answer(server.connect)
                held += connected(server.port, [f"127.0.2.{number}" for number in range(1, 41)], said)
            for connection in held:
                connection.close()
