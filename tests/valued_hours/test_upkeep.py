"""Upkeep: an hour or a step that fails leaves the others done, and is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.ledger.reports import a_report, book

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours import upkeep_steps
from carbonbudget_operator.valued_hours.upkeep import FailedUnits, Upkeep
from carbonbudget_operator.valued_hours.upkeep_steps import UnitError, UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 3600
FIRST = 1_761_868_800  # 2025-10-31
BROKEN = FIRST + HOUR
NOW = FIRST + 40 * 86_400
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))


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
    upkeep = Upkeep(UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25), registry)
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
    assert value(registry, "upkeep_failures_total", step="seal") == 1  # set aside, and made anew meanwhile
    asyncio.run(upkeep.run(NOW + 3600))
    assert value(registry, "upkeep_failures_total", step="seal") == 1
    assert value(registry, "ledger_hours_unsealed") == 0
    assert pods(filled) == []


def test_an_hour_that_is_never_sealed_is_dropped_in_its_time(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, seal_hour = CollectorRegistry(), upkeep_steps.seal_hour

    def failing(engine: sa.Engine, cluster: str, hour: int, *rest: Any) -> None:
        if hour == BROKEN:
            raise ZeroDivisionError
        seal_hour(engine, cluster, hour, *rest)

    monkeypatch.setattr(upkeep_steps, "seal_hour", failing)
    upkeep = Upkeep(UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25), registry)
    for now in (NOW, NOW, NOW + 3600, NOW + 3 * 3600):
        asyncio.run(upkeep.run(now))
    assert value(registry, "upkeep_failures_total", step="seal") == 3
    assert (pods(filled), value(registry, "ledger_hours_unsealed")) == (["p1"], 1)
    asyncio.run(upkeep.run(NOW + 26 * 30 * 86_400))
    assert hours_of(filled, schema.pod_fact.c.start) == []
    assert pods(filled) == []


def test_a_defect_that_all_hours_have_ends_the_round_and_each_is_tried_and_logged_in_its_turn(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    book(Booker(filled), *(a_report(FIRST + hour * HOUR) for hour in range(4, 15)))
    registry, kept = CollectorRegistry(), ValuedReader(filled, SETTINGS)
    monkeypatch.setattr(kept, "make", lambda *_: 1 // 0)
    upkeep = Upkeep(UpkeepSteps(kept, 35, 25), registry)
    counts = []
    for now in (NOW, NOW, NOW + 30, NOW + 60, NOW + 2 * 3600):
        asyncio.run(upkeep.run(now))
        counts.append(value(registry, "upkeep_failures_total", step="derive"))
    assert counts == [0, 10, 15, 15, 25]
    assert len([message for message in caplog.messages if "upkeep: derive" in message]) == 15


def test_an_hour_at_which_the_database_fails_is_left_out_of_the_next_round(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement's time-out looks like a database that is away, and came for the same hour for ever."""
    kept = ValuedReader(filled, SETTINGS)
    make = kept.make

    def failing(connection: sa.Connection, hour: int) -> object:
        if hour == FIRST:
            raise sa.exc.OperationalError("SELECT 1", {}, Exception("canceling statement due to statement timeout"))
        return make(connection, hour)

    monkeypatch.setattr(kept, "make", failing)
    upkeep = Upkeep(UpkeepSteps(kept, 35, 25), CollectorRegistry())
    asyncio.run(upkeep.run(NOW))
    with pytest.raises(UnitError, match="statement timeout"):
        asyncio.run(upkeep.run(NOW))
    asyncio.run(upkeep.run(NOW + 30))
    assert hours_of(filled, schema.sealed_hour.c.hour) == [FIRST + HOUR, FIRST + 2 * HOUR, FIRST + 3 * HOUR]


def test_an_hour_that_cannot_be_valued_leaves_the_others_kept_and_sealed(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    kept = ValuedReader(filled, SETTINGS)
    make = kept.make

    def failing(connection: sa.Connection, hour: int) -> object:
        if hour == BROKEN:
            raise ZeroDivisionError
        return make(connection, hour)

    monkeypatch.setattr(kept, "make", failing)
    upkeep = Upkeep(UpkeepSteps(kept, 35, 25), registry)
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

    monkeypatch.setattr(upkeep_steps, "seal_hour", away)
    monkeypatch.setattr(UpkeepSteps, "drop", lambda _, now: dropped.append(now))
    upkeep = Upkeep(UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25), registry)
    asyncio.run(upkeep.run(FIRST + 86_400))
    asyncio.run(upkeep.run(FIRST + 86_400))
    with pytest.raises(UnitError, match="away"):
        asyncio.run(upkeep.run(NOW))
    assert dropped[-1] == NOW
    assert value(registry, "upkeep_failures_total", step="seal") == 1
    assert value(registry, "upkeep_failures_total", step="drop") == 0


def test_a_unit_that_fails_again_waits_twice_as_long_up_to_a_day_until_it_succeeds() -> None:
    aside, unit, pauses = FailedUnits(), (0, FIRST), []
    for _ in range(7):
        pauses.append(aside.fail(unit, NOW) // HOUR)
    assert pauses == [1, 2, 4, 8, 16, 24, 24]
    assert aside.waiting(NOW + 24 * HOUR - 1) == {unit}
    assert aside.waiting(NOW + 24 * HOUR) == set()
    aside.done(unit)
    assert aside.fail(unit, NOW) == HOUR
