"""Sending: a report leaves the outbox only when the ledger has it, or never will."""

from __future__ import annotations

import gzip
import http.client
import http.server
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.disk import small_disk

from carbonbudget_agent.counts import Counts
from carbonbudget_agent.http import Endpoint
from carbonbudget_agent.outbox import Outbox, PackedReport, pack
from carbonbudget_agent.sender import Sender
from carbonbudget_core.node_report import NodeReport
from carbonbudget_core.node_report_json import decode_report


class Server(http.server.ThreadingHTTPServer):
    """Answers with the statuses it is told to, the last for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = [200]
        self.got: list[NodeReport] = []
        self.tokens: list[str] = []
        self.connections, self.retry_after = 0, ""

    def await_requests(self, count: int) -> None:
        end = time.monotonic() + 20
        while len(self.tokens) < count:
            assert time.monotonic() < end, f"{len(self.tokens)} of {count} requests came"
            time.sleep(0.01)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet: no waiting for an acknowledgement
    server: Server

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if len(self.server.statuses) > 1 else self.server.statuses[0]
        if status == 200:
            self.server.got.append(decode_report(gzip.decompress(body)))
        self.server.tokens.append(self.headers["Authorization"])
        answer = b'{"reason": "because"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def until(what: str, ask: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not ask():
        assert time.monotonic() < end, f"waited 20 s for {what}"
        time.sleep(0.01)


def read_request(connection: socket.socket) -> None:
    """All of it: closing a connection with something unread resets it, and the answer is lost."""
    with connection.makefile("rb") as stream:
        headers = http.client.parse_headers(stream) if stream.readline() else {}
        stream.read(int(headers.get("Content-Length", 0)))


def pack_report(start: int) -> PackedReport:
    return pack(a_report(start))


def a_report(start: int) -> NodeReport:
    return NodeReport("default", "node-1", "boot", start, start + 60, (), ())


def start(outbox: Outbox, counts: Counts, url: str, token: Path) -> Sender:
    return Sender(Endpoint(url, token, None), outbox, counts, "node-1", spread_seconds=0)


@pytest.fixture
def outbox(tmp_path: Path) -> tuple[Outbox, Counts, Path]:
    (tmp_path / "token").write_text("t1\n")
    counts = Counts()
    box = Outbox(tmp_path / "outbox", counts)
    now = int(time.time()) // 60 * 60
    for index in range(3):
        box.put(pack_report(now + 60 * index))
    return box, counts, tmp_path / "token"


def test_reports_are_sent_oldest_first_and_leave_on_2xx(server: Server, outbox: tuple[Outbox, Counts, Path]) -> None:
    box, counts, token = outbox
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(3)
    sender.finish(5)
    starts = [report.window_start for report in server.got]
    assert starts == sorted(starts)
    assert (box.names(), counts.sent, set(server.tokens)) == ([], 3, {"Bearer t1"})


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_what_will_never_be_taken_is_set_aside_and_counted(
    server: Server, outbox: tuple[Outbox, Counts, Path], status: int
) -> None:
    box, counts, token = outbox
    server.statuses = [status, 200]
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(3)
    sender.finish(5)
    assert (box.names(), counts.refused[status], counts.sent) == ([], 1, 2)
    assert len(list((box.directory / "rejected").iterdir())) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429, 500, 503])
def test_anything_else_is_kept_and_tried_again(
    server: Server, outbox: tuple[Outbox, Counts, Path], status: int
) -> None:
    box, counts, token = outbox
    server.statuses = [status, 200]
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(4)
    sender.finish(5)
    assert (box.names(), counts.refused[status], counts.sent) == ([], 1, 3)


def test_without_a_server_everything_stays(outbox: tuple[Outbox, Counts, Path]) -> None:
    box, counts, token = outbox
    sender = start(box, counts, "http://127.0.0.1:1", token)
    sender.finish(5)
    assert len(box.names()) == 3
    assert counts.send_errors >= 1


def test_a_token_that_was_replaced_is_read_anew(server: Server, outbox: tuple[Outbox, Counts, Path]) -> None:
    box, counts, token = outbox
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(3)
    token.write_text("t2\n")
    box.put(pack_report(int(time.time()) // 60 * 60 + 600))
    sender.wake()
    server.await_requests(4)
    sender.finish(5)
    assert server.tokens[3] == "Bearer t2"


def test_a_corrupt_file_is_set_aside_and_holds_up_nobody(server: Server, outbox: tuple[Outbox, Counts, Path]) -> None:
    box, counts, token = outbox
    (box.directory / box.names()[0]).write_bytes(b"junk")
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(2)
    sender.finish(5)
    assert (box.names(), counts.corrupt, counts.sent) == ([], 1, 2)


def test_an_outbox_over_its_limit_drops_the_oldest_and_counts(outbox: tuple[Outbox, Counts, Path]) -> None:
    box, counts, _ = outbox
    newest = box.names()[-1]
    size = (box.directory / newest).stat().st_size
    small = Outbox(box.directory, counts, max_bytes=size)
    small.trim()
    assert (small.names(), counts.dropped) == ([newest], 2)


class Pauses(threading.Event):
    """Counts the pauses that the sender wants instead of taking them; a millisecond each, so that others run."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0)
        return super().wait(0.001)


def test_a_day_of_windows_is_sent_in_order_over_one_connection_with_a_pause_after_each(
    server: Server, tmp_path: Path
) -> None:
    counts = Counts()
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


def test_the_wait_that_a_server_asks_for_is_kept(server: Server, outbox: tuple[Outbox, Counts, Path]) -> None:
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
    outbox: tuple[Outbox, Counts, Path], reply: bytes, error: bool
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


def test_what_is_not_ours_in_the_outbox_is_left_alone(outbox: tuple[Outbox, Counts, Path]) -> None:
    box, counts, _ = outbox
    names = box.names()
    for foreign in ("lost+found", "x.json.z", "-.json.z", "000000000001-000000.json.z", "checkpoint.json"):
        (box.directory / foreign).write_text("not ours")
    box.trim()
    assert (box.names(), counts.dropped) == (names, 0)
    assert (box.directory / "x.json.z").read_text() == "not ours"


@pytest.mark.parametrize("token", [b"\xff\xfe", b"two\nlines", b"\x00", b""])
def test_a_token_that_is_none_is_waited_out(
    server: Server, outbox: tuple[Outbox, Counts, Path], token: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    box, counts, path = outbox
    path.write_bytes(token)
    server.statuses = [401, 401, 200]
    pauses = Pauses()
    url = Endpoint(f"http://127.0.0.1:{server.server_port}", path, None)
    sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=pauses)
    until("two attempts", lambda: counts.send_errors + counts.refused[401] >= 2)
    path.with_suffix(".new").write_bytes(b"good")
    path.with_suffix(".new").replace(path)
    until("all to be sent", lambda: counts.sent == 3)
    sender.finish(5)
    told = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert told
    assert len(told) == len(set(told))  # each reason once


def test_on_a_read_only_disk_what_was_sent_is_sent_again_and_the_sender_lives(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t\n")
    counts = Counts()
    with small_disk(tmp_path / "outbox", "1m"):
        box = Outbox(tmp_path / "outbox", counts)
        box.put(pack_report(1_764_000_000))
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "outbox")], check=True)
        url = Endpoint(f"http://127.0.0.1:{server.server_port}", tmp_path / "token", None)
        sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=Pauses())
        server.await_requests(3)
        assert counts.sent == 0
        subprocess.run(["mount", "-o", "remount,rw", str(tmp_path / "outbox")], check=True)
        until("it to be sent", lambda: counts.sent == 1)
        sender.finish(5)
        assert box.names() == []
    assert {report.key for report in server.got} == {a_report(1_764_000_000).key}


def test_a_disk_that_cannot_be_read_for_a_while_makes_no_report_corrupt(
    server: Server, outbox: tuple[Outbox, Counts, Path]
) -> None:
    box, counts, token = outbox
    name = box.names()[0]
    kept = (box.directory / name).read_bytes()
    (box.directory / name).unlink()
    (box.directory / name).mkdir()  # reading it is an OSError, as of a broken disk
    url = Endpoint(f"http://127.0.0.1:{server.server_port}", token, None)
    sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=Pauses())
    until("two attempts", lambda: counts.send_errors >= 2)
    assert (counts.corrupt, counts.sent) == (0, 0)
    (box.directory / name).rmdir()
    (box.directory / "whole.tmp").write_bytes(kept)
    (box.directory / "whole.tmp").replace(box.directory / name)
    sender.wake()
    until("all to be sent", lambda: counts.sent == 3)
    sender.finish(5)


def test_a_report_that_is_dropped_while_it_is_about_to_be_sent_is_not_corrupt(
    outbox: tuple[Outbox, Counts, Path],
) -> None:
    box, counts, _ = outbox
    assert (box.read("000000000001-000000-00000000.json.z"), counts.corrupt) == (None, 0)


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
    counts = Counts()
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
    counts = Counts()
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


def test_an_outbox_of_more_windows_than_a_week_has_drops_the_oldest(outbox: tuple[Outbox, Counts, Path]) -> None:
    box, counts, _ = outbox
    names = box.names()
    small = Outbox(box.directory, counts, max_reports=2)
    small.trim()
    assert (small.names(), counts.dropped) == (names[1:], 1)


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_a_file_that_was_cut_off_is_set_aside_and_the_rest_is_sent(
    server: Server, outbox: tuple[Outbox, Counts, Path], cut: int
) -> None:
    box, counts, token = outbox
    last = box.directory / box.names()[-1]
    last.write_bytes(last.read_bytes()[:cut])
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(2)
    sender.finish(5)
    assert (box.names(), counts.corrupt, counts.sent) == ([], 1, 2)
    assert [path.name for path in (box.directory / "corrupt").iterdir()] == [last.name]
