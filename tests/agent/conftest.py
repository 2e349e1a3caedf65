"""Fixtures that several files of the agent's tests use."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.node import UID_A, UID_B, FakeNode
from tests.agent.report_server import Server, pack_report

from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.work_counters import WorkCounters


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def outbox(tmp_path: Path) -> tuple[Outbox, WorkCounters, Path]:
    (tmp_path / "token").write_text("t1\n")
    counts = WorkCounters()
    box = Outbox(tmp_path / "outbox", counts)
    now = int(time.time()) // 60 * 60
    for index in range(3):
        box.put(pack_report(now + 60 * index))
    return box, counts, tmp_path / "token"


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    made = FakeNode(tmp_path)
    made.burn(500_000, UID_A)
    made.burn(300_000, UID_B)
    return made
