"""Upkeep: an hour or a step that fails leaves the others done, and is counted."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.ledger.reports import a_report, book

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.book import Booker
from carbonbudget_operator.reporting import derive
from carbonbudget_operator.reporting.book import Book
from carbonbudget_operator.reporting.derive import Deriver
from carbonbudget_operator.reporting.upkeep import SetAside, Upkeep
from carbonbudget_operator.settings import Carbon, Settings

HOUR = 3600
FIRST = 1_761_868_800  # 2025-10-31
BROKEN = FIRST + HOUR
NOW = FIRST + 40 * 86_400
SETTINGS = Settings(carbon=Carbon(zone="DE", pue=1.2))


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """Four hours, each with a pod of its own."""
    book(Booker(engine), *(a_report(FIRST + hour * HOUR, pods={f"p{hour}": 10**6}) for hour in range(4)))
    return engine


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(f"carbonbudget_{name}", labels)
    assert found is not None
    return found


def hours_of(engine: sa.Engine, column: sa.Column[int]) -> list[int]:
    with engine.connect() as connection:
        return sorted(connection.scalars(sa.select(column).distinct()))


def pods(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.scalars(sa.select(schema.pod.c.uid)))


def spoil_kept(engine: sa.Engine) -> None:
    """The broken hour's kept rows no longer hold what was measured."""
    rows = schema.valued_row
    with engine.begin() as connection:
        connection.execute(sa.update(rows).where(rows.c.start == BROKEN).values(dynamic_uj=rows.c.dynamic_uj + 1))


def test_an_hour_that_cannot_be_sealed_leaves_the_others_sealed_and_dropped_and_is_counted(filled: sa.Engine) -> None:
    registry = CollectorRegistry()
    upkeep = Upkeep(Deriver(Book(filled, SETTINGS), 35, 25), registry)
    for _ in range(2):  # kept in the second round: by then the hours are quiet
        asyncio.run(upkeep.run(FIRST + 86_400))
    spoil_kept(filled)
    asyncio.run(upkeep.run(NOW))
    assert hours_of(filled, schema.sealed_hour.c.hour) == [FIRST, FIRST + 2 * HOUR, FIRST + 3 * HOUR]
    assert hours_of(filled, schema.pod_fact.c.start) == [BROKEN]
    assert pods(filled) == ["p1"]  # what the broken hour needs stays, the rest is forgotten
    assert value(registry, "upkeep_failures_total", step="seal") == 1
    assert value(registry, "upkeep_failures_total", step="derive") == 0
    assert value(registry, "ledger_hours_unsealed") == 1
    asyncio.run(upkeep.run(NOW + 1800))
    assert value(registry, "upkeep_failures_total", step="seal") == 1  # set aside
    asyncio.run(upkeep.run(NOW + 3600))
    assert value(registry, "upkeep_failures_total", step="seal") == 2
    asyncio.run(upkeep.run(NOW + 26 * 30 * 86_400))
    assert hours_of(filled, schema.pod_fact.c.start) == []  # older than is kept: dropped


def test_an_hour_that_cannot_be_valued_leaves_the_others_kept_and_sealed(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    kept = Book(filled, SETTINGS)
    make = kept.make

    def failing(connection: sa.Connection, hour: int) -> object:
        if hour == BROKEN:
            raise ZeroDivisionError
        return make(connection, hour)

    monkeypatch.setattr(kept, "make", failing)
    upkeep = Upkeep(Deriver(kept, 35, 25), registry)
    for _ in range(2):
        asyncio.run(upkeep.run(NOW))
    assert hours_of(filled, schema.sealed_hour.c.hour) == [FIRST, FIRST + 2 * HOUR, FIRST + 3 * HOUR]
    assert pods(filled) == ["p1"]
    assert value(registry, "upkeep_failures_total", step="derive") == 1
    monkeypatch.undo()
    asyncio.run(upkeep.run(NOW + 3600))
    assert value(registry, "ledger_hours_unsealed") == 0
    assert pods(filled) == []
    assert value(registry, "upkeep_last_success_timestamp_seconds", step="derive") > 0


def test_a_step_that_fails_is_told_once_the_others_were_tried(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, dropped = CollectorRegistry(), []

    def away(*_: object) -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("away"))

    monkeypatch.setattr(derive, "seal_hour", away)
    monkeypatch.setattr(Deriver, "drop", lambda _, now: dropped.append(now))
    upkeep = Upkeep(Deriver(Book(filled, SETTINGS), 35, 25), registry)
    asyncio.run(upkeep.run(FIRST + 86_400))
    asyncio.run(upkeep.run(FIRST + 86_400))
    with pytest.raises(sa.exc.OperationalError):
        asyncio.run(upkeep.run(NOW))
    assert dropped[-1] == NOW
    assert value(registry, "upkeep_failures_total", step="seal") == 1
    assert value(registry, "upkeep_failures_total", step="drop") == 0


def test_a_unit_that_fails_again_waits_twice_as_long_up_to_a_day_until_it_succeeds() -> None:
    aside, unit, pauses = SetAside(), (0, FIRST), []
    for _ in range(7):
        pauses.append(aside.fail(unit, NOW) // HOUR)
    assert pauses == [1, 2, 4, 8, 16, 24, 24]
    assert aside.waiting(NOW + 24 * HOUR - 1) == {unit}
    assert aside.waiting(NOW + 24 * HOUR) == set()
    aside.done(unit)
    assert aside.fail(unit, NOW) == HOUR
