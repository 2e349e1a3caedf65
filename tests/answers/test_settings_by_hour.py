"""By which settings an hour was valued: sealed ones by the settings of then, others by those of today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from tests.databases import make_tables
from tests.ledger.reports import book
from tests.valued_hours.filled_ledger import DAY, HOUR, NOW, keep, seal, some_reports

from carbonbudget_operator.answers.report_closing import period_report
from carbonbudget_operator.answers.settings_by_hour import SettingsByHour
from carbonbudget_operator.cli.report_change import change_lines, sealed_lines
from carbonbudget_operator.cli.report_html import report_html
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.fact_reader import hours_with_facts
from carbonbudget_operator.ledger.ledger_engine import open_ledger, snapshot
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valuation.derivation import BUNDLED
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
        by_hour = SettingsByHour(connection, reader, hours_with_facts(connection, 0, 2**40))
        return [one for method in by_hour.methods(start, end) for one in method if one.startswith("carbon.pue ")]


def changes(engine: sa.Engine, settings: Settings) -> list[tuple[int, list[str]]]:
    with snapshot(engine) as connection:
        return SettingsByHour(connection, ValuedReader(engine, settings), some_hours()).changes()


def some_hours() -> list[int]:
    return sorted({report.window_start - report.window_start % HOUR for report in some_reports()})


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


def test_a_change_begins_with_its_date_and_an_undated_one_with_the_first_open_hour(engine: sa.Engine) -> None:
    when = dt.datetime.fromtimestamp(DAY + 23 * HOUR, dt.UTC).isoformat()  # the next hour with facts is the 25th
    assert changes(engine, with_pue([{"value": 1.58}, {"valid_from": when, "value": 1.2}])) == [
        (DAY + 23 * HOUR, ["carbon.pue 1.58 -> 1.2"])
    ]
    assert changes(engine, with_pue(1.58)) == []
    keep(engine, with_pue(1.58))
    sealed = seal(engine, DAY + 37 * 86_400, with_pue(1.58))
    assert len(sealed) < len(some_hours())
    first_open = min(set(some_hours()) - set(sealed))
    assert changes(engine, with_pue(1.2)) == [(first_open, ["carbon.pue 1.58 -> 1.2"])]


def test_other_rules_and_tables_are_named_as_what_they_are(engine: sa.Engine) -> None:
    keep(engine, with_pue(1.58))
    assert seal(engine, DAY + 37 * 86_400, with_pue(1.58))
    with engine.begin() as connection:
        text = connection.scalar(sa.select(schema.derivation.c.description))
        assert text is not None
        former = text.replace("rules ", "rules 0", 1)
        connection.execute(sa.update(schema.derivation).values(description=former))
    assert [what for _, what in changes(engine, with_pue(1.58))] == [[BUNDLED]]


def test_a_comparison_names_a_change_of_settings_at_the_border_of_its_periods(engine: sa.Engine) -> None:
    when = dt.datetime.fromtimestamp(DAY + 24 * HOUR, dt.UTC).isoformat()
    settings = with_pue([{"value": 1.58}, {"valid_from": when, "value": 1.2}])
    report = period_report(engine, settings, (DAY + 24 * HOUR, DAY + 48 * HOUR), NOW, compare=True)
    change = report["change"]
    assert change["settings_changes"] == [{"from": DAY + 24 * HOUR, "settings": ["carbon.pue 1.58 -> 1.2"]}]
    assert "settings_changes" not in report  # inside the period itself nothing changes
    line = "  other settings from 2025-11-01 00:00 UTC, a part of the change comes from them: carbon.pue 1.58 -> 1.2"
    assert line in list(change_lines(report))
    said = "Other settings from 2025-11-01 00:00 UTC, a part of the change comes from them: carbon.pue 1.58 -&gt; 1.2"
    assert said in report_html(report, "")


def test_a_report_says_up_to_when_its_hours_are_sealed(engine: sa.Engine) -> None:
    span, settings = (DAY, DAY + 24 * HOUR), with_pue(1.58)
    assert "sealed_until" not in period_report(engine, settings, span, NOW)
    keep(engine, settings)
    assert seal(engine, NOW, settings)
    report = period_report(engine, settings, span, NOW)
    assert report["sealed_until"] == DAY + 21 * HOUR  # the hour of 20:00 is the last one with facts
    line = "hours before 2025-10-31 21:00 UTC are sealed: a residual mix, contract or PUE that is known later does not "
    assert list(sealed_lines(report)) == [line + "change them"]
    assert "Hours before 2025-10-31 21:00 UTC are sealed" in report_html(report, "")


def test_hours_without_facts_have_no_method_and_neither_has_a_text_of_another_form(engine: sa.Engine) -> None:
    settings = with_pue(1.58)
    assert pues(engine, settings, NOW, NOW + HOUR) == []
    keep(engine, settings)
    sealed = seal(engine, NOW, settings)
    with engine.begin() as connection:
        connection.execute(sa.update(schema.derivation).values(description="of an earlier version"))
    assert pues(engine, settings, min(sealed), max(sealed) + HOUR) == []
