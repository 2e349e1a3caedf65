"""Sums that the database makes of stored units are the sums of their rows, to the microgram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbonbudget_operator.ledger.stored_units import APART, DAYS, HOURS, TOGETHER, ColumnSums, StoredUnits
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow, ValuedUnit

DAY = 1_761_868_800
LENGTHS = {HOURS: 3600, DAYS: 86_400}
NAMES = ("team-a", "Team-a", "team-ä", "__idle__", "")
_number = count()

figures = st.lists(st.integers(0, 2**45) | st.integers(0, 3), min_size=COLUMNS, max_size=COLUMNS)
groups = st.tuples(
    st.sampled_from(("Scope 2", "Scope 3")), st.sampled_from(NAMES), st.sampled_from(("Job/a", "Job/b")),
    st.sampled_from(("", "blue")),
)  # fmt: skip
units = st.dictionaries(
    st.tuples(st.sampled_from((HOURS, DAYS)), st.integers(0, 4)),
    st.dictionaries(groups, st.tuples(figures, st.sampled_from(("f", "g"))), max_size=6),
    min_size=1, max_size=5,
)  # fmt: skip


def made(level: int, number: int, rows: Mapping[tuple[str, str, str, str], tuple[list[int], str]]) -> ValuedUnit:
    length = LENGTHS[level]
    start = DAY + number * length
    valued = [
        ValuedRow(
            start, start + length, "", scope, namespace, workload, {"c": colour} if colour else {}, its, frozenset({by})
        )
        for (scope, namespace, workload, colour), (its, by) in rows.items()
    ]
    return ValuedUnit(level, start, valued, [])


def expected(stored: Sequence[ValuedUnit], column_sums: ColumnSums) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for unit in stored:
        for row in unit.rows:
            sums = found.setdefault(row.namespace, [0] * COLUMNS)
            for column, parts in column_sums.items():
                sums[column] += sum(row.figures[part] for part in parts)
    return found


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stored=units,
    column_sums=st.sampled_from((APART, TOGETHER, {0: (0, 1, 2), 10: (10,)})),
    some=st.sets(st.sampled_from(NAMES)),
)
def test_sums_by_namespace_are_the_sums_of_the_rows(
    engine: sa.Engine, stored: dict[tuple[int, int], dict[tuple[str, str, str, str], tuple[list[int], str]]],
    column_sums: ColumnSums, some: set[str],
) -> None:  # fmt: skip
    ledger = StoredUnits(engine, f"derivation {next(_number)}")
    saved = [made(level, number, rows) for (level, number), rows in stored.items()]
    for unit in saved:
        ledger.save(unit, unit.start + LENGTHS[unit.level], "1")
    keys = [(unit.level, unit.start) for unit in saved]
    wanted = expected(saved, column_sums)
    with engine.connect() as connection:
        rows = ledger.total(connection, keys, DAY, DAY + 1, None, column_sums, by_namespace=True)
        of_some = ledger.total(connection, keys, DAY, DAY + 1, some, column_sums, by_namespace=True)
        in_groups = ledger.total(connection, keys, DAY, DAY + 1, None, column_sums)
    assert {row.namespace: row.figures for row in rows} == wanted
    assert len(rows) == len(wanted)
    assert {row.namespace: row.figures for row in of_some} == {k: v for k, v in wanted.items() if k in some}
    assert expected([ValuedUnit(DAYS, DAY, in_groups, [])], APART) == wanted


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=units)
def test_a_longer_unit_has_one_row_for_each_group_of_its_parts(
    engine: sa.Engine, stored: dict[tuple[int, int], dict[tuple[str, str, str, str], tuple[list[int], str]]]
) -> None:
    ledger = StoredUnits(engine, f"derivation {next(_number)}")
    hours = [made(HOURS, number, rows) for (level, number), rows in stored.items() if level == HOURS]
    for unit in hours:
        ledger.save(replace(unit, reported=[(unit.start, unit.start + 3600, 7)]), unit.start + 3600, "1")
    wanted: dict[object, ValuedRow] = {}
    for row in (row for unit in hours for row in unit.rows):
        key = (row.scope, row.namespace, row.workload, str(row.labels))
        empty = replace(row, start=DAY, end=DAY + 86_400, figures=[0] * COLUMNS, factors=frozenset())
        wanted.setdefault(key, empty).add(row.figures, row.factors)
    with engine.connect() as connection:
        day = ledger.sum_up(connection, [(HOURS, unit.start) for unit in hours], DAYS, DAY, DAY + 86_400)
    assert sorted(day.rows, key=str) == sorted(wanted.values(), key=str)
    assert (day.level, day.start, day.reported) == (DAYS, DAY, [(DAY, DAY + 86_400, 7 * len(hours))])


@pytest.mark.parametrize("figure", [2**60, 2**61, 2**62])
def test_a_longer_unit_that_is_too_large_is_an_error(engine: sa.Engine, figure: int) -> None:
    ledger = StoredUnits(engine, "too large a day")
    hours = [
        made(HOURS, number, {("Scope 2", "team-a", "Job/a", ""): ([figure] * COLUMNS, "f")}) for number in range(3)
    ]
    for unit in hours:
        ledger.save(unit, unit.start + 3600, "1")
    with engine.connect() as connection, pytest.raises(OverflowError):
        ledger.sum_up(connection, [(HOURS, unit.start) for unit in hours], DAYS, DAY, DAY + 86_400)


@pytest.mark.parametrize("by_namespace", [True, False])
def test_a_sum_that_does_not_fit_is_exact_or_an_error_and_never_rounded(engine: sa.Engine, by_namespace: bool) -> None:
    """SQLite adds up in 64 bits, PostgreSQL has decimals."""
    ledger = StoredUnits(engine, "large")
    group = ("Scope 2", "team-a", "Job/a", "")
    saved = [made(HOURS, number, {group: ([2**61 + 1] * COLUMNS, "f")}) for number in range(5)]
    for unit in saved:
        ledger.save(unit, unit.start + 3600, "1")
    with engine.connect() as connection:
        try:
            (row,) = ledger.total(
                connection, [(HOURS, unit.start) for unit in saved], DAY, DAY + 1, by_namespace=by_namespace
            )
        except OverflowError:
            assert engine.dialect.name == "sqlite"
            return
    assert row.figures == expected(saved, TOGETHER)["team-a"]


def test_components_that_are_too_large_together_are_an_error_in_sqlite(engine: sa.Engine) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reports an error by itself")
    ledger = StoredUnits(engine, "too large")
    unit = made(HOURS, 0, {("Scope 2", "team-a", "Job/a", ""): ([2**62] * COLUMNS, "f")})
    ledger.save(unit, unit.start + 3600, "1")
    with engine.connect() as connection, pytest.raises(OverflowError):
        ledger.total(connection, [(HOURS, unit.start)], DAY, DAY + 1)
