"""A report that the server fails at holds up no other, and is lost no more than they are."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.agent.report_server import Handler, Server, pack_report, until

from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.sender import Sender
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeReport
from carbonbudget_core.node_report_json import decode_report

START = 1_764_000_000
HANG_UP = 0


class FailingServer(Server):
    """Fails at some windows, by their start, and takes the others; `away` fails at all."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = FailingHandler
        self.fails: dict[int, int] = {}
        self.away = 0
        self.asked: list[int] = []


class FailingHandler(Handler):
    server: FailingServer

    def do_POST(self) -> None:
        report = decode_report(gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.asked.append(report.window_start)
        status = self.server.away or self.server.fails.get(report.window_start, 200)
        if status == HANG_UP:
            self.close_connection = True
            return
        if status == 200:
            self.server.got.append(report)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Time(threading.Event):
    """A sender's pauses, which pass at once, and the clock they turn."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self.pauses = 1_000.0, 0

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds += timeout or 0
        self.pauses += 1
        return super().wait(0.0005)

    def now(self) -> float:
        return self.seconds


class Node:
    """A sender and what it sends from."""

    def __init__(self, root: Path, server: FailingServer) -> None:
        (root / "token").write_text("t\n")
        self.counts, self.time = WorkCounters(), Time()
        self.box = Outbox(root / "outbox", self.counts)
        self._url = Endpoint(f"http://127.0.0.1:{server.server_port}", root / "token", None, timeout_s=5)
        self.sender: Sender | None = None

    def put(self, *minutes: int) -> None:
        for minute in minutes:
            self.box.put(pack_report(START + 60 * minute))
        if self.sender is not None:
            self.sender.wake()

    def send(self, wall: Callable[[], float] = lambda: START + 3_600.0) -> None:
        self.sender = Sender(
            self._url, self.box, self.counts, "node-1", spread_seconds=0, stop=self.time, now=self.time.now, wall=wall
        )

    def stop(self) -> None:
        assert self.sender is not None
        self.sender.finish(20)


@pytest.fixture
def server() -> Iterator[FailingServer]:
    made = FailingServer()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def minutes(server: FailingServer) -> list[int]:
    """The windows that the server took."""
    return sorted((report.window_start - START) // 60 for report in server.got)


@pytest.mark.parametrize("status", [500, 502, 503, 504, HANG_UP])
def test_a_report_that_the_server_fails_at_is_delayed_and_the_later_ones_go_on(
    server: FailingServer, tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.fails = {START + 60: status}
    node = Node(tmp_path, server)
    node.put(*range(6))
    node.send()
    until("the others to be sent", lambda: node.counts.sent == 5)
    until("the report to be delayed", lambda: node.counts.delayed == 1)
    node.stop()
    assert minutes(server) == [0, 2, 3, 4, 5]
    assert (node.box.names(), [Path(name).name for name in node.box.delayed()]) == ([], [pack_report(START + 60).name])
    assert server.asked.count(START + 60) >= 6  # it was tried for a while, and once more after another was taken
    assert sum("tried again later" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("status", [429, 500, 503, 401])
def test_while_the_server_is_away_nothing_is_delayed_however_long_it_takes(
    server: FailingServer, tmp_path: Path, status: int
) -> None:
    server.away = status
    node = Node(tmp_path, server)
    node.put(*range(4))
    node.send()
    until("hours of pauses", lambda: node.time.seconds > 20_000)
    assert (node.counts.delayed, len(node.box.names()), node.box.delayed()) == (0, 4, [])
    server.away = 0
    until("all to be sent", lambda: node.counts.sent == 4)
    node.stop()
    assert (node.counts.delayed, minutes(server)) == (0, [0, 1, 2, 3])


def test_a_single_report_waits_for_another_one_that_shows_whose_fault_it_is(
    server: FailingServer, tmp_path: Path
) -> None:
    server.fails = {START: 500}
    node = Node(tmp_path, server)
    node.put(0)
    node.send()
    until("an hour of pauses", lambda: node.time.seconds > 5_000)
    assert node.counts.delayed == 0
    node.put(1)
    until("it to be delayed", lambda: node.counts.delayed == 1)
    until("the next to be sent", lambda: node.counts.sent == 1)
    node.stop()


def test_several_in_a_row_are_delayed_one_after_another(server: FailingServer, tmp_path: Path) -> None:
    server.fails = {START + 60 * minute: 500 for minute in range(5)}
    node = Node(tmp_path, server)
    node.put(*range(8))
    node.send()
    until("those to be delayed that later ones show to be at fault", lambda: node.counts.delayed == 3)
    node.put(8, 9)  # with each minute comes another one
    until("all of them to be delayed", lambda: node.counts.delayed == 5)
    node.stop()
    assert minutes(server) == [5, 6, 7, 8, 9]


def hourly(server: FailingServer, node: Node, done: Callable[[], bool]) -> None:
    """Hours pass, in which windows close."""
    minute = 100
    while not done():
        asked = len(server.asked)
        node.time.seconds += 3_600
        node.put(minute)
        until("the window to be sent", lambda number=asked: len(server.asked) > number)
        until("the outbox to be empty", lambda: not node.box.names())
        minute += 1
        assert minute < 200


def test_what_was_delayed_is_tried_again_each_hour_and_leaves_when_the_server_takes_it(
    server: FailingServer, tmp_path: Path
) -> None:
    server.fails = {START: 500}
    node = Node(tmp_path, server)
    node.put(0, 1)
    node.send()
    until("it to be delayed", lambda: node.counts.delayed == 1)
    before = server.asked.count(START)
    hourly(server, node, lambda: server.asked.count(START) >= before + 3)
    assert len(node.box.delayed()) == 1
    server.fails = {}
    hourly(server, node, lambda: not node.box.delayed())
    node.stop()
    assert 0 in minutes(server)


@pytest.mark.parametrize(("status", "rejected"), [(409, True), (422, False)])
def test_what_was_delayed_is_rejected_only_when_no_server_will_take_it(
    server: FailingServer, tmp_path: Path, status: int, rejected: bool
) -> None:
    server.fails = {START: 500}
    node = Node(tmp_path, server)
    node.put(0, 1)
    node.send()
    until("it to be delayed", lambda: node.counts.delayed == 1)
    server.fails = {START: status}
    hourly(server, node, lambda: node.counts.refused[status] > 0)
    node.stop()
    assert node.counts.rejected == rejected
    assert [Path(name).name for name in node.box.delayed()] == ([] if rejected else [pack_report(START).name])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_report_that_this_server_refuses_is_delayed_at_once_and_arrives_when_a_server_takes_it(
    server: FailingServer, tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The reported case: an unknown method, a wrong cluster, a low limit of watts. It was thrown away."""
    server.fails = {START + 60: status}
    node = Node(tmp_path, server)
    node.put(*range(4))
    node.send()
    until("the others to be sent", lambda: node.counts.sent == 3)
    until("its first turn among the delayed ones", lambda: server.asked.count(START + 60) == 2)
    assert (node.box.names(), len(node.box.delayed()), node.counts.delayed) == ([], 1, 1)
    hourly(server, node, lambda: server.asked.count(START + 60) >= 4)
    assert sum("is delayed and tried again later" in record.message for record in caplog.records) == 1
    server.fails = {}  # another version of the server, or another setting
    hourly(server, node, lambda: not node.box.delayed())
    node.stop()
    assert 1 in minutes(server)
    assert (node.counts.rejected, node.counts.dropped) == (0, 0)


def test_a_week_that_a_server_refused_is_sent_in_one_go_when_it_takes_it(server: FailingServer, tmp_path: Path) -> None:
    node = Node(tmp_path, server)
    server.away = 422
    node.put(*range(300))
    node.send()
    until("all to be delayed, and the first round of this agent", lambda: len(server.asked) == 300 + 20)
    assert (node.counts.delayed, node.box.names()) == (300, [])
    server.away = 0
    node.time.seconds += 3_600
    began = node.time.seconds
    node.put(300)
    until("all to be sent", lambda: node.counts.sent == 301)
    node.stop()
    assert node.time.seconds - began < 60
    assert minutes(server) == [*range(301)]


def test_a_window_that_closes_does_not_wait_for_delayed_ones(server: FailingServer, tmp_path: Path) -> None:
    node = Node(tmp_path, server)
    node.put(*range(50))
    for name in node.box.names():
        node.box.delay(name)

    class Closes(list[NodeReport]):
        """The server's list of reports: when the third of the delayed ones arrives, a window closes on the node."""

        def append(self, report: NodeReport) -> None:
            super().append(report)
            if len(self) == 3:
                node.put(1_000)

    server.got = Closes()
    node.send()
    until("all to be sent", lambda: node.counts.sent == 51)
    node.stop()
    assert [(report.window_start - START) // 60 for report in server.got][:5].count(1_000) == 1


def test_a_refusal_does_not_show_that_the_server_takes_reports(server: FailingServer, tmp_path: Path) -> None:
    """The ledger is away: what can be refused is refused, all else has to wait, and is at no fault."""
    node = Node(tmp_path, server)
    node.put(*range(3))
    server.fails = {START: 503, START + 60: 422, START + 120: 422}
    node.send()
    until("hours of pauses", lambda: node.time.seconds > 20_000)
    assert (node.counts.delayed, len(node.box.names())) == (0, 3)
    server.fails = {}
    until("all to be sent", lambda: node.counts.sent == 3)
    node.stop()


def test_a_refused_report_that_cannot_be_moved_stays_and_stops_no_other(
    server: FailingServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.fails = {START: 422}
    node = Node(tmp_path, server)
    (node.box.directory / "delayed").write_text("a file is in the way, as a full disk would be")
    node.put(0, 1, 2)
    node.send()
    until("the others to be sent", lambda: node.counts.sent == 2)
    for minute in range(3, 6):
        node.put(minute)
        until("the window to be sent", lambda number=minute: node.counts.sent == number)
    node.stop()
    assert node.box.names() == [pack_report(START).name]
    assert sum("cannot be delayed" in record.message for record in caplog.records) == 1


def test_what_is_refused_and_older_than_any_server_takes_is_rejected(server: FailingServer, tmp_path: Path) -> None:
    """As of a node without a clock, before it asked for the time: it would be tried for ever."""
    server.fails = {START: 422, START + 86_400: 422}
    node = Node(tmp_path, server)
    node.put(0, 1, 1_440)
    node.send(wall=lambda: START + 35 * 86_400 + 1.0)
    until("the other to be sent", lambda: node.counts.sent == 1)
    until("the younger one's first turn among the delayed ones", lambda: node.counts.refused[422] == 3)
    node.stop()
    assert (node.counts.rejected, node.counts.delayed) == (1, 1)
    assert [path.name for path in (node.box.directory / "rejected").iterdir()] == [pack_report(START).name]


def test_of_many_that_were_delayed_each_gets_its_turn(server: FailingServer, tmp_path: Path) -> None:
    node = Node(tmp_path, server)
    node.put(*range(30))
    for name in node.box.names():
        node.box.delay(name)
    server.fails = {START + 60 * minute: 500 for minute in range(29)}
    node.send()  # after a restart of the agent they are still there, and tried at once
    until("the first to be tried", lambda: START in server.asked)
    hourly(server, node, lambda: 29 in minutes(server))
    node.stop()
    rounds = 1 + sum(minute >= 100 for minute in minutes(server))  # one at the start, and one in each hour
    tries = [server.asked.count(START + 60 * minute) for minute in range(29)]
    assert max(tries) <= rounds
    assert sum(tries) <= 20 * rounds


def test_a_window_of_the_future_is_never_delayed(server: FailingServer, tmp_path: Path) -> None:
    server.fails = {START: 425}
    node = Node(tmp_path, server)
    node.put(0, 1)
    node.send()
    for minute in range(2, 12):
        asked = len(server.asked)
        node.time.seconds += 60
        node.put(minute)
        until("it to be asked for again", lambda number=asked: len(server.asked) > number)
    node.stop()
    assert (node.counts.delayed, node.box.delayed()) == (0, [])


def test_what_was_delayed_counts_within_the_outboxs_bounds_and_the_oldest_goes_first(tmp_path: Path) -> None:
    counts = WorkCounters()
    box = Outbox(tmp_path, counts, max_reports=3)
    for minute in range(5):
        box.put(pack_report(START + 60 * minute))
    for name in box.names()[1:3]:
        box.delay(name)
    box.trim()
    assert counts.dropped == 2
    assert [Path(name).name for name in (*box.delayed(), *box.names())] == [
        pack_report(START + 60 * minute).name for minute in (2, 3, 4)
    ]
