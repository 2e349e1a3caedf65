"""A store of counters that answers what a test says, over HTTP or TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from threading import Thread

from tests.fake_http_server import FakeHttpServer

Answer = Callable[[BaseHTTPRequestHandler], None]


def text_answer(status: int, text: bytes, headers: dict[str, str] | None = None) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text)

    return answer


def slow(handler: BaseHTTPRequestHandler) -> None:
    """One byte now and then: each read succeeds, the answer never ends."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


@dataclass
class AnsweringStore:
    """Its URL, and the path, headers and body of each request that it got."""

    url: str
    requests: list[tuple[str, Message, str]] = field(default_factory=list)


@contextmanager
def a_store(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[AnsweringStore]:
    """It answers all with `answer`; `context` for TLS."""
    made = AnsweringStore("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            made.requests.append((self.path, self.headers, self.body))
            answer(self)

        def do_GET(self) -> None:
            made.requests.append((self.path, self.headers, ""))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = FakeHttpServer(Handler)
    if context is not None:  # the handshake is in the handler's thread
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "http" if context is None else "https"
    made.url = f"{scheme}://localhost:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
