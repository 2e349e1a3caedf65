"""Rows that are summed up lose nothing, and the rows that they are made of stay as they are."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow, ValuedUnit, rows_within, sum_rows

rows = st.lists(
    st.builds(
        ValuedRow,
        start=st.sampled_from((0, 1800)),
        end=st.sampled_from((3600, 7200)),
        node=st.sampled_from(("", "n1")),
        scope=st.sampled_from(("Scope 2", "Scope 3")),
        namespace=st.sampled_from(("team-a", "team-b")),
        workload=st.sampled_from(("Job/a", "Job/b")),
        labels=st.sampled_from(({}, {"team": "a"})),
        figures=st.lists(st.integers(0, 2**70), min_size=COLUMNS, max_size=COLUMNS),
        factors=st.frozensets(st.sampled_from("fgh")),
    ),
    max_size=12,
)


@given(rows, st.integers(0, 3600), st.integers(0, 7200))
def test_a_sum_of_rows_has_their_figures_and_factors(parts: list[ValuedRow], start: int, length: int) -> None:
    before, end = deepcopy(parts), start + length
    found = sum_rows(parts, start, end)
    inside = list(rows_within(parts, start, end))
    for column in range(COLUMNS):
        assert sum(row.figures[column] for row in found) == sum(row.figures[column] for row in inside)
    assert frozenset().union(*(row.factors for row in found)) == frozenset().union(*(row.factors for row in inside))
    keys = [(row.namespace, row.workload, str(row.labels)) for row in found]
    assert len(set(keys)) == len(keys)
    assert parts == before


@given(rows)
def test_a_unit_has_each_row_once_under_its_namespace(parts: list[ValuedRow]) -> None:
    unit = ValuedUnit(0, 0, parts, [])
    assert all(row.namespace == name for name, its in unit.by_namespace.items() for row in its)
    assert sum(len(its) for its in unit.by_namespace.values()) == len(parts)
