"""What is kept of time that is over: the same answers, sooner; never older than the facts or the settings."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.event import listen
from tests.ledger.reports import a_report, book
from tests.valued_hours.filled_ledger import ALL, DAY, HOUR, HOUR_SETS, NOW, SETTINGS, SPANS, keep, seal, sums

from carbonbudget_operator.answers.allocation_groups import group_rows
from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.stored_units import (
    HOURS,
    LEVELS,
    MONTHS,
    STORED_LEVELS,
    THIRDS,
    StoredUnits,
)
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    EMBODIED_UG,
    ENERGY_UJ,
    ValuedRow,
    ValuedUnit,
)
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.unit_calendar import plan_units, signatures, unit_end, unit_of
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader


def test_hours_with_many_gaps_between_them_add_up(engine: sa.Engine) -> None:
    """Each stretch is a range of its own, and one statement takes so many."""
    kept = ValuedReader(engine, SETTINGS).derived
    hours = [DAY + hour * HOUR for hour in range(0, 450, 2)]
    for n, hour in enumerate(hours):
        rows = [
            ValuedRow(hour, hour + HOUR, "", "Scope 2", "team", name, {}, [n + 1] * COLUMNS, frozenset({"f"}))
            for name in ("Job/a", "Job/b")
        ]
        kept.save(ValuedUnit(HOURS, hour, rows, []), hour + HOUR, "1")
    with engine.connect() as connection:
        found = kept.total(connection, [(HOURS, hour) for hour in hours], DAY, NOW)
    sums = Counter[str]()
    for row in found:
        sums[row.workload] += row.figures[EMBODIED_UG]
    assert sums == {name: sum(range(1, len(hours) + 1)) for name in ("Job/a", "Job/b")}


def test_a_unit_that_could_not_be_kept_leaves_no_id_to_keep_the_next_under(engine: sa.Engine) -> None:
    """Another server's settings may get the id that was rolled back."""
    ours, others = StoredUnits(engine, "ours"), StoredUnits(engine, "others")
    row = ValuedRow(DAY, DAY + HOUR, "", "Scope 2", "team", "Job/a", {}, [1] * COLUMNS, frozenset({"f"}))
    unit = ValuedUnit(HOURS, DAY, [row], [])
    too_large = ValuedUnit(HOURS, DAY, [replace(row, figures=[2**64] * COLUMNS)], [])  # no database's integer
    with pytest.raises((OverflowError, sa.exc.DBAPIError)):
        ours.save(too_large, DAY + HOUR, "1")
    others.save(unit, DAY + HOUR, "1")
    with engine.connect() as connection:
        assert ours.id(connection) is None
    ours.save(unit, DAY + HOUR, "1")
    with engine.connect() as connection:
        assert ours.id(connection) != others.id(connection)
        assert ours.load(connection, HOURS, DAY).rows == others.load(connection, HOURS, DAY).rows == [row]


@pytest.mark.parametrize("span", SPANS)
def test_what_is_kept_answers_as_the_facts_do(filled: sa.Engine, span: tuple[int, int]) -> None:
    from_facts = sums(list(ValuedReader(filled, SETTINGS).rows(*span)))
    query = BudgetQuery(id="x", namespaces=["team-a"], start=span[0], end=span[1])
    (answer,) = BudgetUseQueries(ValuedReader(filled, SETTINGS)).budgets([query])
    keep(filled)
    assert sums(list(ValuedReader(filled, SETTINGS).rows(*span))) == from_facts
    (kept,) = BudgetUseQueries(ValuedReader(filled, SETTINGS)).budgets([query])
    assert kept == answer


def test_each_unit_is_kept_once_and_the_longest_are_read(filled: sa.Engine) -> None:
    assert keep(filled) == ALL
    assert keep(filled) == {}
    with filled.connect() as connection:
        units = ValuedReader(filled, SETTINGS).units(connection, 0, NOW)
    assert Counter(level for level, _ in units) == {MONTHS: 2}


def test_energy_beyond_64_bits_is_added_up_all_the_same(engine: sa.Engine) -> None:
    """2.56 GWh are 2^63 microjoules: some weeks of a large cluster's idle. SQLite's own sum ends there."""
    reports = [a_report(DAY + hour * HOUR, "n1", {"p": 5 * 10**17}, labels={}) for hour in range(24)]
    book(Booker(engine, max_node_watts=10**12), *reports)  # one node stands for all
    expected = sum(report.domains[0].measured_uj for report in reports)
    deriver = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while deriver.step(NOW) is not None:
        pass
    assert deriver.step(NOW) is None  # what does not fit is not tried again and again
    assert sum(sum(row.figures[ENERGY_UJ]) for row in ValuedReader(engine, SETTINGS).rows(0, NOW)) == expected
    assert len(seal(engine, NOW)) == 24
    *_, checked = check_ledger(engine)
    assert (checked.defects, checked.measured_uj) == ([], expected)


def test_a_report_that_comes_late_makes_all_units_of_its_hour_anew(filled: sa.Engine) -> None:
    keep(filled)
    book(Booker(filled), a_report(DAY + 600, "n1", {"late": 5}))
    assert sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW))) == sums(
        list(ValuedReader(filled, SETTINGS).rows(0, NOW))
    )
    (late,) = [row for row in ValuedReader(filled, SETTINGS).rows(0, NOW) if row.workload == "Pod/late"]
    assert late.figures[0] == 5
    assert keep(filled) == dict.fromkeys(STORED_LEVELS, 1)


def test_hours_that_still_change_wait_and_what_is_made_of_them_too(filled: sa.Engine) -> None:
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)

    def a_round() -> Counter[int]:
        made: Counter[int] = Counter()
        deriver.begin(NOW)
        while (key := deriver.step(NOW)) is not None:
            made[key[0]] += 1
        return made

    assert a_round() == {}  # whether they change is not known yet
    booker = Booker(filled)
    book(booker, a_report(DAY + 120, "n1", {"late": 5}))
    assert a_round() == ALL - Counter(STORED_LEVELS)
    assert a_round() == dict.fromkeys(STORED_LEVELS, 1)
    assert a_round() == {}
    assert keep(filled) == {}


def test_a_round_with_nothing_to_keep_asks_one_question(filled: sa.Engine) -> None:
    """Each server has one every half minute, over all the hours of two years."""
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)
    while deriver.step(NOW) is not None:
        pass
    statements: list[str] = []
    listen(filled, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert deriver.step(NOW + 60) is None
    assert len([text for text in statements if "hour_revision" in text]) == 1
    assert not any("valued" in text for text in statements)
    book(Booker(filled), a_report(DAY + 660, "n1", {"late": 5}))
    assert deriver.step(NOW + 90) == (HOURS, DAY)


def test_other_settings_are_another_derivation(filled: sa.Engine) -> None:
    keep(filled)
    other = Settings(carbon=CarbonSettings(zone="FR", pue=1.2))
    german, french = (sum(g.location_ug for g in group_rows(ValuedReader(filled, s).rows(0, NOW), ["namespace"], []))
                      for s in (SETTINGS, other))  # fmt: skip
    assert french < german / 2
    assert keep(filled, other) == ALL
    assert keep(filled) == {}


def test_an_hour_is_kept_only_when_it_is_over(filled: sa.Engine) -> None:
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)
    assert deriver.step(DAY + HOUR + 899) is None
    assert deriver.step(DAY + HOUR + 900) == (HOURS, DAY)


@given(HOUR_SETS, st.integers(-5 * HOUR, 80 * 86_400), st.integers(1, 80 * 86_400), st.data())
def test_a_plan_holds_each_hour_of_the_span_once(hours: set[int], after: int, length: int, data: st.DataObject) -> None:
    start, end = DAY + after, DAY + after + length
    inside = sorted(hour for hour in hours if hour + HOUR > start and hour < end)
    units = sorted(signatures(dict.fromkeys(inside, 1)))
    valid = {key: "" for key in units if data.draw(st.booleans())}
    found = plan_units(start, end, inside, valid)
    covered = Counter(hour for level, at in found for hour in inside if at <= hour < unit_end(at, level))
    assert covered == dict.fromkeys(inside, 1)
    for level, at in found:
        assert level == HOURS or (start <= at and unit_end(at, level) <= end and (level, at) in valid)


@given(st.integers(0, 4 * 10**9), st.sampled_from(LEVELS))
def test_units_tile_time(at: int, level: int) -> None:
    start = unit_of(at, level)
    assert start <= at < unit_end(start, level)
    assert unit_of(unit_end(start, level), level) == unit_end(start, level)
    assert level == HOURS or unit_of(start, level - 1) == start
    if level in (THIRDS, MONTHS):
        assert dt.datetime.fromtimestamp(start, dt.UTC).day in ({1, 11, 21} if level == THIRDS else {1})
