"""A small HTTP server for JSON, on which the tests' W&B and Comet are made."""

from __future__ import annotations

import gzip
import json
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fake_http_server import FakeHttpServer

Answer = Callable[[str, dict[str, str], Any], tuple[int, Any]]


class JsonSide:
    """`answer(path, query, body)` gives status and JSON; body is None for GET."""

    def __init__(self, answer: Answer) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                self._answer(json.loads(body))

            def _answer(self, body: Any) -> None:
                parts = urllib.parse.urlsplit(self.path)
                status, told = answer(parts.path, dict(urllib.parse.parse_qsl(parts.query)), body)
                text = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if status == 302:
                    self.send_header("Location", told["location"])
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: object) -> None: ...

        self._server = FakeHttpServer(Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
