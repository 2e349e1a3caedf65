"""A server process that speaks the contract of /v1/self, and misbehaves where a test asks for it.

`python contract_server.py TOKEN [CERTIFICATE KEY]` prints its port. `PUT /control` sets how it behaves, `GET /control`
answers what it has received.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DEFAULT: dict[str, Any] = {
    "mode": "good",
    "token": sys.argv[1],
    "state": "provisional",
    "until": True,
    "prediction": None,
}


class State:
    """What the server has received, and how it behaves."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.behaviour = dict(DEFAULT)
        self.spans: dict[str, dict[str, Any]] = {}
        self.units: list[dict[str, Any]] = []
        self.progress: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []


STATE = State()


def result(span: dict[str, Any]) -> dict[str, Any]:
    """The figures of a span: 1 J and 1 g a millisecond."""
    long_ms = span["end_ms"] - span["start_ms"] + 1
    figures = dict.fromkeys(
        ("energy_uj", "inclusive_energy_uj", "emissions_ug", "market_emissions_ug", "embodied_ug", "low_ug", "high_ug"),
        long_ms * 1_000_000,
    )
    named = {name: span.get(name) for name in ("id", "name", "step", "start_ms", "end_ms")}
    return named | figures | {"measured_permille": 930, "resolution": "weighted", "state": STATE.behaviour["state"]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *_: object) -> None:
        """Nothing: the test shows what it needs."""

    def answer(self, status: int, body: object, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def control(self, content: bytes) -> None:
        with STATE.lock:
            if self.command == "PUT":
                wanted = json.loads(content)
                if wanted.pop("reset", False):
                    STATE.reset()
                STATE.behaviour |= wanted
            seen = {"spans": list(STATE.spans.values()), "units": STATE.units, "progress": STATE.progress}
            self.answer(200, seen | {"requests": STATE.requests})

    def misbehaves(self, path: str, content: bytes) -> bool:
        """Whether the fault that was asked for has been played; `only`: at this path alone."""
        if STATE.behaviour.get("only", path) != path:
            return False
        match STATE.behaviour["mode"]:
            case "slow":
                time.sleep(30)
            case "drips":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(60):
                    self.wfile.write(b" ")
                    time.sleep(0.5)
            case "503":
                self.answer(503, {"reason": "the ledger is away"}, Retry_After="600")
            case "429":
                self.answer(429, {"reason": "too many"}, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT")
            case "500" | "403" | "404" | "422" | "302" as status:
                self.answer(
                    int(status), {"reason": STATE.behaviour.get("text", "x" * 10_000)}, Location="http://127.0.0.1:1/"
                )
            case "no endpoint":
                self.answer(404, {"detail": "Not Found"})
            case "404 of a proxy":
                self.answer(404, b"<html>404 Not Found</html>")
            case "413" if len(json.loads(content or b"{}").get("spans", ())) > STATE.behaviour.get("most", 0):
                self.answer(413, {"reason": "too big"})
            case "closes":
                self.close_connection = True
            case "half":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                self.close_connection = True
            case "not http":
                self.wfile.write(b"\x00\xff" * 1000)
                self.close_connection = True
            case "wrong json":
                self.answer(200, b'{"accepted": [}')
            case "other json":
                self.answer(200, [1, {"spans": 7}])
            case "odd json":
                self.answer(200, {"accepted": "x", "refused": {"a": 1}, "spans": [3, {"id": None}], "prediction": [1]})
            case "deep json":
                self.answer(200, b"[" * 100_000)
            case "endless":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                try:
                    while True:
                        self.wfile.write(b" " * 65_536)
                except OSError:
                    self.close_connection = True
            case _:
                return False
        return True

    def handle_one(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if url.path == "/control":
            return self.control(content)
        with STATE.lock:
            STATE.requests.append({"method": self.command, "path": self.path, "bytes": len(content)})
        if self.misbehaves(url.path, content):
            return None
        if self.headers.get("Authorization") != f"Bearer {STATE.behaviour['token']}":
            return self.answer(401, {"reason": "the token is not known"})
        body = json.loads(content) if content else {}
        with STATE.lock:
            return self.good(url.path, body, parse_qs(url.query))

    def good(self, path: str, body: dict[str, Any], query: dict[str, list[str]]) -> None:
        match path:
            case "/v1/self/spans":
                assert set(body) <= {"run", "spans"}, body
                assert len(body["spans"]) <= 1_000
                for span in body["spans"]:
                    STATE.spans.setdefault(span["id"], span | {"run": body.get("run")})
                refused = [{"id": span["id"], "reason": "no"} for span in body["spans"] if span["name"] == "refuse me"]
                self.answer(200, {"accepted": len(body["spans"]) - len(refused), "refused": refused})
            case "/v1/self/units":
                assert set(body) == {"units"}, body
                STATE.units += body["units"]
                self.answer(200, {"accepted": len(body["units"]), "refused": []})
            case "/v1/self/progress":
                STATE.progress.append(body)
                self.answer(200, {"prediction": STATE.behaviour["prediction"]})
            case "/v1/self":
                wanted = query["ids"][0].split(",")
                spans = [result(STATE.spans[name]) for name in wanted if name in STATE.spans]
                until_ms = 2**50 if STATE.behaviour["until"] else 0
                self.answer(200, {"tracked": True, "windows_until_ms": until_ms, "spans": spans})
            case _:
                self.answer(404, {"detail": "Not Found"})

    do_GET = do_POST = do_PUT = handle_one  # noqa: N815 - the base class has these names


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what many tests want."""


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
