"""The ledger's size, on both databases, and what a scrape shows of it."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.ledger_size import ledger_size
from carbonbudget_operator.server.ledger_size_metrics import LedgerSizeMetrics


def test_the_size_grows_with_what_is_booked(engine: sa.Engine) -> None:
    before = ledger_size(engine)
    pods = {f"pod-{number}": 7 for number in range(500)}
    book(Booker(engine), *(a_report(HOUR + 3600 * hour, pods=pods) for hour in range(5)))
    after = ledger_size(engine)
    assert before.used_bytes > 0
    assert after.used_bytes > before.used_bytes + 50_000


def test_of_sqlite_all_files_count_and_the_room_of_their_volume_is_known(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a INTEGER)")
        size = ledger_size(engine)
        assert size.used_bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    volume = os.statvfs(tmp_path)
    assert size.free_bytes is not None
    assert 0 < size.free_bytes <= volume.f_blocks * volume.f_frsize
    engine.dispose()


async def test_a_scrape_shows_the_size_and_before_the_first_look_nothing(engine: sa.Engine) -> None:
    registry, metrics = CollectorRegistry(), LedgerSizeMetrics(engine)
    registry.register(metrics)
    assert list(registry.collect()) == []
    await metrics.step()
    shown = {family.name: family.samples[0].value for family in registry.collect()}
    assert shown["carbonbudget_ledger_bytes"] > 0
    assert ("carbonbudget_ledger_free_bytes" in shown) == (engine.dialect.name == "sqlite")
