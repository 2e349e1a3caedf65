"""By which method an hour was counted: sealed ones by the settings of then, others by those of today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from tests.databases import make_tables
from tests.ledger.reports import book
from tests.valued_hours.filled_ledger import DAY, HOUR, NOW, keep, seal, some_reports

from carbonbudget_operator.answers.methods_by_hour import MethodsByHour
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.fact_reader import hours_with_facts
from carbonbudget_operator.ledger.ledger_engine import open_ledger, snapshot
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

LATER = DAY + 48 * HOUR


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    made = open_ledger("sqlite://")
    make_tables(made)
    book(Booker(made), *some_reports())
    yield made
    made.dispose()


def with_pue(value: object) -> Settings:
    return Settings.model_validate({"carbon": {"zone": "DE", "pue": value}})


def pues(engine: sa.Engine, settings: Settings, start: int, end: int) -> list[str]:
    reader = ValuedReader(engine, settings)
    with snapshot(engine) as connection:
        by_hour = MethodsByHour(connection, reader, hours_with_facts(connection, 0, 2**40))
        return [one for method in by_hour.of(start, end) for one in method if one.startswith("carbon.pue ")]


def test_without_dates_all_open_hours_are_of_the_settings_of_today(engine: sa.Engine) -> None:
    assert pues(engine, with_pue(1.2), DAY, LATER) == ["carbon.pue 1.2"]
    assert pues(engine, with_pue(1.4), DAY, LATER) == ["carbon.pue 1.4"]


def test_a_dated_setting_divides_the_hours_and_the_newest_method_is_last(engine: sa.Engine) -> None:
    when = dt.datetime.fromtimestamp(DAY + 24 * HOUR, dt.UTC).isoformat()
    dated = with_pue([{"value": 1.58}, {"valid_from": when, "value": 1.2}])
    assert pues(engine, dated, DAY, DAY + 24 * HOUR) == ["carbon.pue 1.58"]
    assert pues(engine, dated, DAY + 24 * HOUR, LATER) == ["carbon.pue 1.2"]
    assert pues(engine, dated, DAY, LATER) == ["carbon.pue 1.58", "carbon.pue 1.2"]


def test_a_sealed_hour_stays_with_the_method_that_it_was_valued_by(engine: sa.Engine) -> None:
    keep(engine, with_pue(1.58))
    sealed = seal(engine, NOW, with_pue(1.58))
    assert sealed
    assert pues(engine, with_pue(1.2), min(sealed), max(sealed) + HOUR) == ["carbon.pue 1.58"]


def test_hours_without_facts_have_no_method_and_neither_has_a_text_of_another_form(engine: sa.Engine) -> None:
    settings = with_pue(1.58)
    assert pues(engine, settings, NOW, NOW + HOUR) == []
    keep(engine, settings)
    sealed = seal(engine, NOW, settings)
    with engine.begin() as connection:
        connection.execute(sa.update(schema.derivation).values(description="of an earlier version"))
    assert pues(engine, settings, min(sealed), max(sealed) + HOUR) == []
