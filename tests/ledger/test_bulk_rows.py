"""Rows are put in by the hundred; none is lost, added twice or mixed with another where a hundred ends."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import BulkInsert

SPAN = ("node_id", "first_start", "last_end")


def spans(engine: sa.Engine) -> list[tuple[int, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(schema.node_span).order_by(sa.text("node_id")))]


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 250])
def test_each_row_is_put_in_once_and_merged_by_its_own_rule(engine: sa.Engine, number: int) -> None:
    rows = BulkInsert(engine.dialect, schema.node_span, SPAN, SPAN[:1], {"first_start": "min", "last_end": "add"})
    with engine.begin() as connection:
        rows.put(connection, ((node, 1_000 + node, 5 * node) for node in range(number)))
        # Every second one again, from 50 on.
        rows.put(connection, ((node, node, 7) for node in range(50, number + 50, 2)))
    again = set(range(50, number + 50, 2))
    made = {node: (node, node if node in again else 1_000 + node, 5 * node) for node in range(number)}
    made |= {node: (node, node, made[node][2] + 7 if node in made else 7) for node in again}
    assert spans(engine) == [made[node] for node in sorted(made)]


def test_without_a_rule_the_row_that_is_there_stands(engine: sa.Engine) -> None:
    rows = BulkInsert(engine.dialect, schema.node_span, SPAN, SPAN[:1])
    with engine.begin() as connection:
        rows.put(connection, ((node, 1, 2) for node in range(150)))
        rows.put(connection, ((node, 8, 9) for node in range(100, 250)))
    assert spans(engine) == [(node, 1, 2) if node < 150 else (node, 8, 9) for node in range(250)]
