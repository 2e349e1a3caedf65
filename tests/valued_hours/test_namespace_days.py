"""A day's sums by namespace: read in place of the day's rows, and never when they are older than these."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import sqlalchemy as sa
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.emission_series import Series, SeriesQuery, emission_series
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.retention import drop_before
from carbonbudget_operator.ledger.stored_units import DAYS, NAMESPACE_DAYS, StoredUnits
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.unit_calendar import Key, signatures
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 1_763_942_400  # 2025-11-24
HOUR = 3600
LATER = DAY + 40 * 24 * HOUR
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
BY_DAY = SeriesQuery((DAY, DAY + 48 * HOUR), "day", ("namespace",), (), None, False, None, 100)


def fill(engine: sa.Engine) -> None:
    for hour in (0, 7, 30):
        for number, namespace in enumerate(("team-a", "team-b")):
            pods = {f"{namespace}-{pod}": 10**9 + hour + pod for pod in range(3)}
            book(Booker(engine), a_report(DAY + hour * HOUR, f"n{number}", pods, namespace=namespace))


def store(engine: sa.Engine) -> None:
    upkeep = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while upkeep.step(LATER) is not None:
        pass


def answer(engine: sa.Engine) -> Series:
    return emission_series(ValuedReader(engine, SETTINGS), BY_DAY)


def from_facts(engine: sa.Engine) -> Series:
    reader = ValuedReader(engine, SETTINGS)
    reader.derived = StoredUnits(engine, "nothing is stored under this")
    return emission_series(reader, BY_DAY)


def double(engine: sa.Engine, level: int) -> None:
    """Make the stored energy of a level wrong, so that an answer that reads it shows."""
    row = schema.valued_row.c
    with engine.begin() as connection:
        connection.execute(sa.update(schema.valued_row).where(row.level == level).values(dynamic_uj=2 * row.dynamic_uj))


def test_they_have_one_row_for_each_namespace_and_are_read_in_place_of_the_day(engine: sa.Engine) -> None:
    fill(engine)
    store(engine)
    row = schema.valued_row.c
    with engine.connect() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).where(row.level == NAMESPACE_DAYS, row.start == DAY))
    right = from_facts(engine)
    assert rows == len({found.key for found in right.rows if found.start == DAY})
    double(engine, DAYS)
    assert answer(engine) == right
    double(engine, NAMESPACE_DAYS)
    assert answer(engine).total.energy_uj > right.total.energy_uj


def test_after_a_late_report_they_are_not_read_until_they_are_made_anew(engine: sa.Engine) -> None:
    fill(engine)
    store(engine)
    before = answer(engine)
    book(Booker(engine), a_report(DAY + 9 * HOUR, "n1", {"late": 10**10}, namespace="team-late"))
    right = from_facts(engine)
    assert answer(engine) == right
    assert right.total.energy_uj > before.total.energy_uj
    store(engine)
    double(engine, DAYS)
    assert answer(engine) == right


def test_those_of_another_derivation_are_not_read_even_under_the_same_id(engine: sa.Engine) -> None:
    """An older version deletes a derivation and not these sums; SQLite gives its id to the next one."""
    fill(engine)
    store(engine)
    others = StoredUnits(engine, "other settings")
    unit = schema.valued_unit.c
    with engine.begin() as connection:
        of_day = connection.scalar(sa.select(unit.signature).where(unit.level == DAYS, unit.start == DAY))
        assert of_day is not None
        connection.execute(
            sa.update(schema.valued_unit)
            .where(unit.level == NAMESPACE_DAYS)
            .values(signature=others.namespace_signature(of_day))
        )
    double(engine, NAMESPACE_DAYS)
    assert answer(engine) == from_facts(engine)
    store(engine)  # makes them anew
    double(engine, DAYS)
    assert answer(engine) == from_facts(engine)


def test_they_are_deleted_with_the_days(engine: sa.Engine) -> None:
    fill(engine)
    store(engine)
    drop_before(engine, LATER - LATER % HOUR, BatchDeleter(engine))
    with engine.connect() as connection:
        for table in (schema.valued_unit, schema.valued_row):
            assert connection.scalar(sa.select(sa.func.count()).where(table.c.level == NAMESPACE_DAYS)) == 0


def test_a_round_signs_the_units_once_and_again_when_a_fact_changed(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[int] = []

    def counted(revisions: Mapping[int, int]) -> dict[Key, str]:
        signed.append(len(revisions))
        return signatures(revisions)

    monkeypatch.setattr("carbonbudget_operator.valued_hours.upkeep_steps.signatures", counted)
    fill(engine)
    upkeep = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    assert upkeep.step(LATER) is not None
    assert upkeep.step(LATER) is not None
    assert len(signed) == 1
    book(Booker(engine), a_report(DAY + 60, "n0", {"late": 10**9}, namespace="team-a"))
    while upkeep.step(LATER) is not None:
        pass
    assert len(signed) == 2
    assert answer(engine) == from_facts(engine)
