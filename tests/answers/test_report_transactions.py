"""A report reads the ledger in short transactions, and its figures agree all the same."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.emissions_report import EmissionsReporter
from carbonbudget_operator.answers.report_closing import ClosingError, prepare
from carbonbudget_operator.decimal_text import kilowatt_hours
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 1_751_328_000  # 2025-07-01
HOUR = 3600
HOURS = 30


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    book(Booker(engine), *(a_report(DAY + HOUR * hour, "n1", {"p1": 1_000_000 + hour}) for hour in range(HOURS)))
    return engine


def test_between_two_units_a_report_holds_no_transaction(filled: sa.Engine) -> None:
    reporter = EmissionsReporter(filled, Settings())
    steps = 0
    for _ in reporter.run(DAY, DAY + HOURS * HOUR, DAY + 40 * HOUR):
        assert filled.pool.checkedout() == 0  # type: ignore[attr-defined] # of a pool that counts them
        steps += 1
    assert steps == HOURS
    assert not reporter.changed_meanwhile


def test_a_period_that_changes_while_it_is_read_is_not_closed(filled: sa.Engine) -> None:
    """A closure's hash must not cover a part of before and a part of after."""

    def late(done: int, _: int) -> None:
        if done == 10:
            book(Booker(filled), a_report(DAY + HOUR * 5 + 60, "n1", {"p1": 7_000_000_000}))

    day, now = "2025-07-01", DAY + 40 * HOUR
    with pytest.raises(ClosingError, match="arrived while it was read: close it again"):
        prepare(filled, Settings(), day, now, incomplete=True, progress=late)
    assert prepare(filled, Settings(), day, now, incomplete=True).period == day


def test_late_reports_while_a_report_is_made_leave_energy_and_methods_equal(filled: sa.Engine) -> None:
    """Booked before, into, and after the unit that is read."""
    reporter = EmissionsReporter(filled, Settings())
    for done, _ in reporter.run(DAY, DAY + HOURS * HOUR, DAY + 40 * HOUR):
        if done == 10:
            late = [DAY + HOUR * hour + 60 for hour in (5, 10, 20)]
            book(Booker(filled), *(a_report(at, "n1", {"p1": 7_000_000_000}) for at in late))
    found = reporter.result()
    total, energy = found["total"], found["energy"]
    assert isinstance(total, dict)
    assert isinstance(energy, list)
    assert [row["kwh"] for row in energy] == [kilowatt_hours(total["it_energy_uj"])]
    assert total["it_energy_uj"] == sum(1_000_700 + hour for hour in range(HOURS)) + 2 * 7_000_000_700
    assert reporter.changed_meanwhile
    assert total["it_energy_uj"] == sum(part["it_energy_uj"] for part in found["namespaces"].values())  # type: ignore[attr-defined] # of a JSON object


def test_units_that_upkeep_stores_while_a_report_is_made_change_nothing(filled: sa.Engine) -> None:
    now = DAY + 40 * HOUR
    settings = Settings()
    steady, disturbed = EmissionsReporter(filled, settings), EmissionsReporter(filled, settings)
    list(steady.run(DAY, DAY + HOURS * HOUR, now))
    upkeep = UpkeepSteps(ValuedReader(filled, settings), 90, 24)
    for done, _ in disturbed.run(DAY, DAY + HOURS * HOUR, now):
        if done == 3:
            upkeep.begin(now)
            while upkeep.step(now) is not None:
                pass
    assert disturbed.result() == steady.result()


def test_a_report_promises_no_more_than_was_reported_before_its_first_hour_was_read(filled: sa.Engine) -> None:
    """A node delivers what it kept while the report is made: the early hours were read without it."""
    end = DAY + HOURS * HOUR
    book(Booker(filled), a_report(end - HOUR, "n2", {"p2": 5}))
    reporter = EmissionsReporter(filled, Settings())
    for done, _ in reporter.run(DAY, end, DAY + 40 * HOUR):
        if done == HOURS - 1:
            book(Booker(filled), a_report(end, "n1", {"p1": 1}), a_report(end, "n2", {"p2": 1}))
    assert reporter.data_through == end - HOUR + 60
