"""Sending: a report leaves the outbox only when the ledger has it, or never will."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from pathlib import Path

import pytest
from tests.agent.report_server import Handler, Pauses, Server, pack_report, read_request, start, until

from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.sender import Sender
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report_json import decode_report


def test_reports_are_sent_oldest_first_and_leave_on_2xx(
    server: Server, outbox: tuple[Outbox, WorkCounters, Path]
) -> None:
    box, counts, token = outbox
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(3)
    sender.finish(5)
    starts = [report.window_start for report in server.got]
    assert starts == sorted(starts)
    assert (box.names(), counts.sent, set(server.tokens)) == ([], 3, {"Bearer t1"})


def test_what_no_server_will_ever_take_is_rejected_and_counted(
    server: Server, outbox: tuple[Outbox, WorkCounters, Path], caplog: pytest.LogCaptureFixture
) -> None:
    box, counts, token = outbox
    (first, *_) = box.names()
    server.statuses = [409, 200]
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(3)
    sender.finish(5)
    assert (box.names(), counts.refused[409], counts.rejected, counts.sent) == ([], 1, 1, 2)
    assert [path.name for path in (box.directory / "rejected").iterdir()] == [first]
    assert f"the server answered 409: because; report {first} is rejected and not sent again" in caplog.text


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429, 500, 503])
def test_anything_else_is_kept_and_tried_again(
    server: Server, outbox: tuple[Outbox, WorkCounters, Path], status: int
) -> None:
    box, counts, token = outbox
    server.statuses = [status, 200]
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(4)
    sender.finish(5)
    assert (box.names(), counts.refused[status], counts.sent) == ([], 1, 3)


def test_without_a_server_everything_stays(outbox: tuple[Outbox, WorkCounters, Path]) -> None:
    box, counts, token = outbox
    sender = start(box, counts, "http://127.0.0.1:1", token)
    sender.finish(5)
    assert len(box.names()) == 3
    assert counts.send_errors >= 1


def test_a_token_that_was_replaced_is_read_anew(server: Server, outbox: tuple[Outbox, WorkCounters, Path]) -> None:
    box, counts, token = outbox
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(3)
    token.write_text("t2\n")
    box.put(pack_report(int(time.time()) // 60 * 60 + 600))
    sender.wake()
    server.await_requests(4)
    sender.finish(5)
    assert server.tokens[3] == "Bearer t2"


def test_an_outbox_over_its_limit_drops_the_oldest_and_counts(outbox: tuple[Outbox, WorkCounters, Path]) -> None:
    box, counts, _ = outbox
    newest = box.names()[-1]
    size = (box.directory / newest).stat().st_size
    small = Outbox(box.directory, counts, max_bytes=size)
    small.trim()
    assert (small.names(), counts.dropped) == ([newest], 2)


def test_a_day_of_windows_is_sent_in_order_over_one_connection_with_a_pause_after_each(
    server: Server, tmp_path: Path
) -> None:
    counts = WorkCounters()
    box = Outbox(tmp_path / "outbox", counts)
    (tmp_path / "token").write_text("t\n")
    for index in range(1_440):
        box.put(pack_report(1_764_000_000 + 60 * index))
    server.statuses = [503] * 5 + [200]
    pauses = Pauses()
    url = Endpoint(f"http://127.0.0.1:{server.server_port}", tmp_path / "token", None)
    sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=pauses)
    server.await_requests(1_445)
    sender.finish(30)
    assert [report.window_start for report in server.got] == [1_764_000_000 + 60 * n for n in range(1_440)]
    assert (box.names(), counts.sent, server.connections) == ([], 1_440, 1)
    assert pauses.asked.count(0.05) == 1_440  # a day takes over a minute
    backoffs = [pause for pause in pauses.asked if pause not in (0.05, 0)]
    assert all(2**n / 2 <= pause <= 2**n for n, pause in enumerate(backoffs))  # 1 s, doubled, halved at random
    assert len(backoffs) == 5


def test_the_wait_that_a_server_asks_for_is_kept(server: Server, outbox: tuple[Outbox, WorkCounters, Path]) -> None:
    box, counts, token = outbox
    server.statuses, server.retry_after = [429, 200], "77"
    pauses = Pauses()
    url = Endpoint(f"http://127.0.0.1:{server.server_port}", token, None)
    sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=pauses)
    server.await_requests(4)
    sender.finish(5)
    assert 77 <= pauses.asked[0] <= 77 * 1.1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", True),
        (b"garbage\r\n\r\n", True),
        (b"HTTP/1.1 20", True),
        (b"HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\n[]", False),
        (b"HTTP/1.1 500 Oops\r\nRetry-After: soon\r\nContent-Length: 3\r\n\r\n\xff\xfe\x00", False),
        (b"HTTP/1.1 500 Oops\r\nRetry-After: nan\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 500 Oops\r\nRetry-After: -9\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: x\r\n\r\n", False),
    ],
)
def test_whatever_a_server_says_the_reports_stay_and_the_sender_lives(
    outbox: tuple[Outbox, WorkCounters, Path], reply: bytes, error: bool
) -> None:
    box, counts, token = outbox
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", token, None, timeout_s=5)
        sender = Sender(url, box, counts, "node-1", spread_seconds=0)
        for _ in range(2):  # it comes back after the first answer
            connection, _ = listener.accept()
            with connection:
                read_request(connection)
                connection.sendall(reply)
        until("both answers to be seen", lambda: counts.send_errors + counts.refused.total() >= 2)
        assert (counts.send_errors > 0) == error
    sender.finish(20)  # its thread ends here, and says nothing into the next test
    assert len(box.names()) == 3


class LatePart(Outbox):
    """SIGTERM comes, and with it the last part, while the sender is busy with what it found before."""

    asked_to_stop: threading.Event

    def read(self, name: str) -> bytes | None:
        if not self.asked_to_stop.is_set():
            self.put(pack_report(1_764_090_000))
            self.asked_to_stop.set()
        return super().read(name)


def test_the_last_part_is_sent_though_the_sender_was_busy_when_it_came(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t\n")
    counts = WorkCounters()
    box = LatePart(tmp_path / "outbox", counts)
    box.asked_to_stop = Pauses()
    box.put(pack_report(1_764_000_000))
    url = Endpoint(f"http://127.0.0.1:{server.server_port}", tmp_path / "token", None)
    sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=box.asked_to_stop)
    until("the sender to read", box.asked_to_stop.is_set)
    sender.finish(20)
    assert (box.names(), [report.window_start for report in server.got]) == ([], [1_764_000_000, 1_764_090_000])


class FirstIsEarly(Handler):
    """A server whose clock says that one window is still to come."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        report = decode_report(gzip.decompress(body))
        self.server.tokens.append(str(report.window_start))
        self.send_response(425 if report.window_start > 1_764_500_000 else 200)
        self.send_header("Content-Length", "0")
        self.send_header("Retry-After", "600")
        self.end_headers()


def test_a_window_of_the_future_stays_and_holds_up_no_other(server: Server, tmp_path: Path) -> None:
    """The node's clock was ahead for a moment, and now it is right again."""
    server.RequestHandlerClass = FirstIsEarly
    (tmp_path / "token").write_text("t\n")
    counts = WorkCounters()
    box = Outbox(tmp_path / "outbox", counts)
    box.put(pack_report(1_767_000_000))
    url = Endpoint(f"http://127.0.0.1:{server.server_port}", tmp_path / "token", None)
    sender = Sender(url, box, counts, "node-1", spread_seconds=0)
    server.await_requests(1)
    for minute in range(3):
        box.put(pack_report(1_764_000_000 + 60 * minute))
        box.trim()
        sender.wake()
        until("it to be sent", lambda n=minute: counts.sent == n + 1)
    sender.finish(5)
    assert (len(box.names()), counts.dropped) == (1, 0)
    # Each new window is an occasion to ask again, and no more than that.
    assert 2 <= server.tokens.count("1767000000") <= 5


def test_an_outbox_of_more_windows_than_a_week_has_drops_the_oldest(outbox: tuple[Outbox, WorkCounters, Path]) -> None:
    box, counts, _ = outbox
    names = box.names()
    small = Outbox(box.directory, counts, max_reports=2)
    small.trim()
    assert (small.names(), counts.dropped) == (names[1:], 1)
