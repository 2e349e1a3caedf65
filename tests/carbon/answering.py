"""A server on this machine that answers questions for intensities as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fake_http_server import FakeHttpServer


@dataclass
class Asked:
    """One question."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass
class Answer:
    """What it is answered with: `body` as it is if it is bytes, else as JSON. `stall`: until then nothing."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stall: threading.Event | None = None


@dataclass
class Answering:
    """The answers to come, the last one for ever, and the questions that came."""

    url: str
    answers: list[Answer | Callable[[Asked], Answer]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def next(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(asked) if callable(answer) else answer


@contextmanager
def answering() -> Iterator[Answering]:
    """Runs it."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = state.next(Asked(parts.path, dict(parse_qsl(parts.query)), headers))
            if answer.stall is not None:
                answer.stall.wait(30)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            try:
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = FakeHttpServer(Handler)
    state = Answering(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
