"""`carbonbudget token`: what is sent to the server, and what is printed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from tests.fake_http_server import FakeHttpServer
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app

RECORD = {
    "id": 3, "name": "\u202egraf=ana", "namespaces": ["team-a", "team-b"], "created_by": "lead", "created_at": 0,
    "expires_at": 86_400, "revoked_at": None, "revoked_by": None, "last_used": None,
}  # fmt: skip


class Server(FakeHttpServer):
    """Answers each request with `answer`, and keeps the requests."""

    answer: dict[str, Any]
    asked: list[tuple[str, str, Any]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        self.server.asked.append((self.command, self.path, body))
        text = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(Handler)
    made.asked, made.answer = [], {}
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def run(server: Server, *args: str) -> Any:
    url = f"http://127.0.0.1:{server.server_port}"
    return CliRunner().invoke(app, ["token", *args, "--server-url", url])


def test_a_token_is_printed_alone_so_that_a_file_can_take_it(server: Server) -> None:
    server.answer = RECORD | {"token": "carbonbudget_read_x", "without_pods": []}
    done = run(server, "create", "--namespaces", "team-a, team-b", "--expires", "90d", "--name", "grafana")
    assert (done.exit_code, done.stdout) == (0, "carbonbudget_read_x\n")
    assert "read token 3 for team-a,team-b, until 1970-01-02 00:00 UTC" in done.stderr
    body = {"namespaces": ["team-a", "team-b"], "seconds": 90 * 86_400, "name": "grafana"}
    assert server.asked == [("POST", "/v1/tokens", body)]


def test_a_namespace_without_pods_is_noted_beside_the_token(server: Server) -> None:
    server.answer = RECORD | {"token": "carbonbudget_read_x", "without_pods": ["nosuch\u202e"]}
    done = run(server, "create", "--namespaces", "nosuch", "--expires", "1d")
    assert (done.exit_code, done.stdout) == (0, "carbonbudget_read_x\n")
    assert "note: no pod runs in namespace nosuch" in done.stderr
    assert "\u202e" not in done.stderr


@pytest.mark.parametrize(("text", "seconds"), [("1h30m", 5_400), ("1d12h", 129_600), ("2w", 1_209_600)])
def test_a_token_lasts_as_long_as_a_duration_says(server: Server, text: str, seconds: int) -> None:
    server.answer = RECORD | {"token": "carbonbudget_read_x", "without_pods": []}
    assert run(server, "create", "--namespaces", "a", "--expires", text).exit_code == 0
    assert server.asked[0][2]["seconds"] == seconds


@pytest.mark.parametrize(
    "args",
    [
        ("--namespaces", "a", "--expires", "90"),
        ("--namespaces", "a", "--expires", "59m"),
        ("--namespaces", "a", "--expires", "367d"),
        ("--namespaces", "a", "--expires", "-1d"),
        ("--namespaces", " , ", "--expires", "1d"),
        ("--namespaces", "a", "--expires", "1d", "--name", "n" * 201),
        ("--namespaces", "a", "--expires", "1d", "--ledger", "sqlite:///x"),
    ],
)
def test_wrong_use_asks_nobody(server: Server, args: tuple[str, ...]) -> None:
    done = run(server, "create", *args)
    assert (done.exit_code, done.stdout, server.asked) == (2, "", [])


def test_a_hostile_name_is_listed_escaped(server: Server) -> None:
    server.answer = {"items": [RECORD, RECORD | {"last_used": 86_400, "revoked_at": 90_000, "revoked_by": "lead"}]}
    shown = run(server, "list").stdout
    assert "\u202e" not in shown
    assert "never used" in shown
    assert "last used on 1970-01-02  revoked on 1970-01-02 01:00 UTC by lead" in shown
    assert run(server, "list", "-o", "csv").stdout.splitlines()[0].startswith("id,name,namespaces")
    assert json.loads(run(server, "list", "-o", "json").stdout) == server.answer
    server.answer = {"items": [{}]}
    assert run(server, "list").exit_code == 1


def test_a_token_is_revoked_by_its_number(server: Server) -> None:
    server.answer = {"id": 3, "namespaces": ["team-a"]}
    assert "read token 3 is revoked" in run(server, "revoke", "3").stdout
    assert server.asked == [("POST", "/v1/tokens/revoke", {"id": 3})]
    assert run(server, "revoke", "0").exit_code == 2
