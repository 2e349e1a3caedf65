"""How the agent asks over HTTP: what it sends of a token, and what it never shows."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from tests.agent.report_server import pack_report

from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.sender import Sender
from carbonbudget_agent.work_counters import WorkCounters

KEY = b"-----BEGIN KEY-----\nAAAAtopsecret\n-----END KEY-----\n"


@pytest.mark.parametrize("text", [KEY, b"topsecret topsecret", b"topsecret\xff", b"topsecret\x00"], ids=repr)
def test_a_file_that_holds_no_token_is_named_and_its_text_is_not_shown(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(text)
    with pytest.raises(OSError, match=f"{file} holds no token: a token is one line") as error:
        Endpoint("http://127.0.0.1:1", file, None).headers()
    assert "topsecret" not in str(error.value)


def test_a_sender_whose_file_holds_no_token_keeps_its_reports_and_logs_none_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "token").write_bytes(KEY)
    counts = WorkCounters()
    outbox = Outbox(tmp_path / "outbox", counts)
    outbox.put(pack_report(int(time.time()) // 60 * 60))
    with_no_server = Endpoint("http://127.0.0.1:1", tmp_path / "token", None)
    sender = Sender(with_no_server, outbox, counts, "node-1", spread_seconds=0)
    sender.wake()
    sender.finish(10)
    assert len(outbox.names()) == 1
    assert "holds no token" in caplog.text
    assert "topsecret" not in caplog.text


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://[fd00::1]", "fd00::1", 443), ("https://[fd00::1]:8443", "fd00::1", 8443),
        ("http://[fd00::1]/prefix", "fd00::1", 80), ("https://server", "server", 443), ("http://server", "server", 80),
        ("https://10.0.0.1:10250", "10.0.0.1", 10250),
    ],
)  # fmt: skip
def test_an_address_without_a_port_has_that_of_its_scheme(url: str, host: str, port: int) -> None:
    connection = Endpoint(url, None, None).connect()
    assert (connection.host, connection.port) == (host, port)
