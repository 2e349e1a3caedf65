"""A shared snapshot: what was stored before a question is in its answer, and questions that waited see the same."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from tests.databases import make_tables
from tests.ledger.reports import a_report, book

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger, read_only, snapshot
from carbonbudget_operator.ledger.shared_snapshot import SharedSnapshot


@pytest.fixture
def shared(url: str) -> Iterator[SharedSnapshot]:
    """That of a worker's engine, on a ledger with one report."""
    writing = open_ledger(url)
    make_tables(writing)
    book(Booker(writing), a_report())
    reading = read_only(writing, 10)
    made = SharedSnapshot(reading)
    yield made
    made.end()
    reading.dispose()
    writing.dispose()


def nodes(shared: SharedSnapshot) -> int:
    """How many nodes an answer finds."""
    with snapshot(shared.engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(schema.node)).scalar_one()


def report_of(node: str, url: str) -> None:
    """Book a report of another node."""
    engine = open_ledger(url)
    book(Booker(engine), a_report(node=node))
    engine.dispose()


def test_what_was_stored_before_a_question_was_asked_is_in_its_answer(shared: SharedSnapshot, url: str) -> None:
    for number in range(1, 4):
        shared.begin_question(time.monotonic())
        assert nodes(shared) == number
        report_of(f"more-{number}", url)


def test_questions_that_were_asked_before_the_snapshot_began_share_it(shared: SharedSnapshot, url: str) -> None:
    first, second = time.monotonic(), time.monotonic()
    shared.begin_question(first)
    assert nodes(shared) == 1
    report_of("later", url)
    shared.begin_question(second)
    assert nodes(shared) == 1
    assert shared.is_open


def test_a_snapshot_begins_at_its_first_read_and_not_before(shared: SharedSnapshot, url: str) -> None:
    """A worker may prepare for long before it reads: what is stored meanwhile counts."""
    shared.begin_question(time.monotonic())
    report_of("meanwhile", url)
    assert nodes(shared) == 2


def test_a_question_that_takes_minutes_has_snapshots_of_its_own_and_leaves_none_open(
    shared: SharedSnapshot, url: str
) -> None:
    """One snapshot of ten minutes would keep PostgreSQL from removing dead rows, and SQLite from shortening its log."""
    asked = time.monotonic()
    shared.begin_question(asked)
    assert nodes(shared) == 1
    shared.begin_question(asked, is_shared=False)
    assert not shared.is_open
    assert nodes(shared) == 1
    report_of("meanwhile", url)
    assert nodes(shared) == 2
    assert not shared.is_open


def test_a_snapshot_that_ended_leaves_nothing_open_and_the_next_is_new(shared: SharedSnapshot, url: str) -> None:
    asked = time.monotonic()
    shared.begin_question(asked)
    assert nodes(shared) == 1
    shared.end()
    assert not shared.is_open
    assert shared.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    report_of("later", url)
    shared.begin_question(asked)
    assert nodes(shared) == 2


def test_an_engine_without_one_gets_a_new_snapshot_each_time(engine: sa.Engine) -> None:
    with snapshot(engine) as one, snapshot(engine) as other:
        assert one is not other
