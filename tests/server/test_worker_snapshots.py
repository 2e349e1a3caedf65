"""Questions that waited for a worker are answered from one snapshot of the ledger; it ends when no question follows."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from tests.controller.api_server import eventually
from tests.databases import make_tables
from tests.ledger.reports import a_report, book

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger, read_only, snapshot
from carbonbudget_operator.server.question import QueryAllowance, Question
from carbonbudget_operator.server.worker_messages import LENGTHS, pack_question
from carbonbudget_operator.server.worker_process import serve


class Counting:
    """Answers with the number of nodes in the ledger; `kind` "refused" reads first, and refuses then."""

    def __init__(self, engine: sa.Engine) -> None:
        self.queries: Any = SimpleNamespace(book=SimpleNamespace(engine=engine))

    def answer(self, question: Question) -> bytes:
        with snapshot(self.queries.book.engine) as connection:
            found = connection.execute(sa.select(sa.func.count()).select_from(schema.node)).scalar_one()
        if question.kind == "refused":
            raise Refusal(422, "unanswerable", "too large")
        return b"%d" % found


class Asking:
    """A worker that runs in a thread of this process, and the ledger that it reads."""

    def __init__(self, url: str) -> None:
        self.ledger = open_ledger(url)
        make_tables(self.ledger)
        book(Booker(self.ledger), a_report())
        self.reading = read_only(self.ledger, 10)
        self._ours, self._theirs = socket.socketpair()
        self._worker = threading.Thread(target=serve, args=(self._theirs, Counting(self.reading), 192))
        self._worker.start()

    def ask(self, asked_at: float, kind: str = "count", others_wait: bool = True) -> bytes:
        allowance = QueryAllowance(1, 1, 1, 1, 100)
        self._ours.sendall(
            pack_question(Question(kind, 0, allowance, seconds=5, asked_at=asked_at, others_wait=others_wait))
        )
        head, body = LENGTHS.unpack(self._ours.recv(LENGTHS.size, socket.MSG_WAITALL))
        return self._ours.recv(head or body, socket.MSG_WAITALL)

    def store_another(self, node: str) -> None:
        book(Booker(self.ledger), a_report(node=node))

    @property
    def open_connections(self) -> int:
        return int(self.reading.pool.checkedout())  # type: ignore[attr-defined]

    def close(self) -> None:
        self._ours.close()
        self._worker.join()
        self._theirs.close()
        self.reading.dispose()
        self.ledger.dispose()


@pytest.fixture
def asking(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    monkeypatch.setattr("carbonbudget_operator.server.worker_process._SHARED_SECONDS", 30.0)
    made = Asking(url)
    yield made
    made.close()


def test_a_question_sees_what_was_stored_before_it_was_asked(asking: Asking) -> None:
    assert asking.ask(time.monotonic()) == b"1"
    asking.store_another("node-2")
    assert asking.ask(time.monotonic()) == b"2"


def test_questions_that_waited_see_the_same_ledger(asking: Asking) -> None:
    waited = time.monotonic()
    assert asking.ask(waited) == b"1"
    asking.store_another("node-2")
    assert [asking.ask(waited) for _ in range(3)] == [b"1"] * 3
    assert asking.open_connections == 1


def test_a_question_that_nobody_waits_behind_leaves_no_snapshot_open(asking: Asking) -> None:
    asking.ask(time.monotonic(), others_wait=False)
    assert asking.open_connections == 0


def test_a_refusal_ends_the_snapshot_that_it_was_made_of(asking: Asking) -> None:
    waited = time.monotonic()
    assert b"too large" in asking.ask(waited, "refused")
    asking.store_another("node-2")
    assert asking.ask(waited) == b"2"


async def test_a_snapshot_ends_when_no_question_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database keeps what an open snapshot shows: SQLite's log would grow, PostgreSQL's dead rows would stay."""
    monkeypatch.setattr("carbonbudget_operator.server.worker_process._SHARED_SECONDS", 0.05)
    asking = Asking(f"sqlite:///{tmp_path}/ledger.db")
    try:
        assert await asyncio.to_thread(asking.ask, time.monotonic()) == b"1"
        await eventually(lambda: asking.open_connections == 0)
    finally:
        asking.close()
