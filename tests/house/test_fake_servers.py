"""One class of HTTP server in the tests: the library's own writes what a client does into another test's output."""

from __future__ import annotations

import re
import subprocess
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.fake_http_server import FakeHttpServer

ROOT = Path(__file__).resolve().parent.parent.parent
# The second is a process of its own, of which no test reads what it writes, and runs on older Pythons too.
ALLOWED = {"tests/fake_http_server.py", "tests/client/contract_server.py"}


def test_every_test_that_answers_for_another_program_does_it_with_the_quiet_server() -> None:
    listed = subprocess.run(["git", "ls-files", "tests/*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    makes = re.compile(r"\b(?:Threading)?HTTPServer\b")
    found = {path for path in listed.stdout.split() if makes.search((ROOT / path).read_text(encoding="utf-8"))}
    assert found - {Path(__file__).relative_to(ROOT).as_posix()} == ALLOWED


@pytest.mark.parametrize(("raised", "is_written"), [(BrokenPipeError(), False), (KeyError("a defect"), True)])
def test_a_client_that_has_gone_is_not_written_and_a_defect_is(
    raised: Exception, is_written: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            raise raised

    server = FakeHttpServer(Handler)
    server.daemon_threads = False  # so that its end waits for the handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    with pytest.raises(OSError, match="closed connection"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()
    assert ("Traceback" in capfd.readouterr().err) == is_written
