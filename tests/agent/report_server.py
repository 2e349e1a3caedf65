"""A server that receives reports, and an outbox with reports, for the tests of the sender."""

from __future__ import annotations

import gzip
import http.client
import http.server
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.fake_http_server import FakeHttpServer

from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.outbox import Outbox, PackedReport, pack
from carbonbudget_agent.sender import Sender
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeReport
from carbonbudget_core.node_report_json import decode_report


class Server(FakeHttpServer):
    """Answers with the statuses it is told to, the last for ever."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.statuses: list[int] = [200]
        self.got: list[NodeReport] = []
        self.tokens: list[str] = []
        self.connections, self.retry_after = 0, ""

    def await_requests(self, count: int) -> None:
        end = time.monotonic() + 120
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


def start(outbox: Outbox, counts: WorkCounters, url: str, token: Path) -> Sender:
    return Sender(Endpoint(url, token, None), outbox, counts, "node-1", spread_seconds=0)


class Pauses(threading.Event):
    """Counts the pauses that the sender wants instead of taking them; a millisecond each, so that others run."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0)
        return super().wait(0.001)
