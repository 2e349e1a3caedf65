"""What is remembered of groups and factors: bounded, and shared by threads."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from carbonbudget_operator.ledger import stored_units
from carbonbudget_operator.ledger.stored_units import HOURS, StoredUnits
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow, ValuedUnit

START = 1_751_328_000


def unit(start: int, name: str) -> ValuedUnit:
    row = ValuedRow(start, start + 3600, "", "Scope 2", name, name, {"app": name}, [1] * COLUMNS, frozenset({name}))
    return ValuedUnit(HOURS, start, [row], [(start, start + 3600, 1)])


def test_a_reader_keeps_what_it_learned_though_another_one_begins_anew(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound all is read again; who is between learning and reading must not find its groups gone."""
    monkeypatch.setattr(stored_units, "_MAX_GROUPS", 1)
    kept = StoredUnits(engine, "settings")
    for number, name in enumerate(("one", "two")):
        kept.save(unit(START + 3600 * number, name), START + 3600 * (number + 1), name)
    learn = kept._learn
    interrupted = []

    def interrupt(connection: sa.Connection, groups: set[int], factors: set[int]) -> object:
        found = learn(connection, groups, factors)
        if not interrupted:  # another thread reads the other hour now
            interrupted.append(True)
            with engine.connect() as other:
                assert kept.load(other, HOURS, START + 3600).rows[0].namespace == "two"
        return found

    monkeypatch.setattr(kept, "_learn", interrupt)
    with engine.connect() as connection:
        assert kept.load(connection, HOURS, START).rows[0].namespace == "one"
        interrupted.clear()
        rows = kept.total(connection, [(HOURS, START)], START, START + 3600)
        assert [row.namespace for row in rows] == ["one"]
