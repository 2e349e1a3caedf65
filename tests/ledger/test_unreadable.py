"""What a column of counts holds that is no count spoils its own row, and is told; it does not spoil the hour."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.fact_reader import read_hour, read_nodes
from carbonbudget_operator.ledger.facts import NodeSlice
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.unreadable_rows import left_out
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

SETTINGS = Settings(carbon=CarbonSettings(zone="WORLD", pue=1.0))
LATER = HOUR + 40 * 86_400
# What SQLite keeps in an integer column. PostgreSQL has types: there only a negative number can be.
NO_COUNTS: list[Any] = [2.0**63, "many", b"\x00", -1]


@pytest.fixture(autouse=True)
def nothing_left_out() -> None:
    """As in a process that has just begun."""
    for known in (left_out._rows, left_out._node_hours, left_out._logged):
        known.clear()


def spoil(engine: sa.Engine, table: str, column: str, value: object) -> None:
    """Write it to the first node's rows, as an earlier version's sum or a hand would."""
    if engine.dialect.name == "postgresql":
        value = -1
    node = "(SELECT id FROM node WHERE name = 'node-1')"
    pod = "(SELECT id FROM pod WHERE uid = 'pod-1')"
    key = {"node": f"id = {node}"}.get(table, f"pod_id = {pod}" if table.startswith("pod") else f"node_id = {node}")
    with engine.begin() as connection:
        changed = connection.execute(sa.text(f"UPDATE {table} SET {column} = :value WHERE {key}"), {"value": value})
        assert changed.rowcount > 0


def two_nodes(engine: sa.Engine) -> None:
    reports = (a_report(node=f"node-{n}", pods={f"pod-{n}": 300, f"other-{n}": 50}) for n in (1, 2))
    assert set(book(Booker(engine), *reports)) == {BookingResult.STORED}


def hour(engine: sa.Engine) -> dict[str, NodeSlice]:
    with engine.connect() as connection:
        return {slice_.node.name: slice_ for slice_ in read_hour(connection, "default", HOUR)}


def measured_uj(slices: dict[str, NodeSlice]) -> int:
    return sum(domain.measured_uj for slice_ in slices.values() for domain in slice_.domains.values())


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (table.name, column.name, NO_COUNTS[(number + shift) % 4])
        for shift in range(2)
        for table in (schema.node_fact, schema.pod_fact, schema.pod_energy)
        for number, column in enumerate(table.columns)
        if not column.primary_key
    ],
)
def test_a_row_that_holds_no_counts_spoils_no_hour(
    engine: sa.Engine, table: str, column: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    two_nodes(engine)
    spoil(engine, table, column, value)
    slices = hour(engine)
    assert measured_uj({"node-2": slices["node-2"]}) == 1_050
    for slice_ in slices.values():  # what is left conserves: what could not be read is nobody's
        groups = sum(sum(group.energy_uj.values()) + sum(group.idle_uj.values()) for group in slice_.groups)
        (domain,) = slice_.domains.values()
        assert domain.measured_uj == domain.idle_uj + domain.system_uj + domain.unseen_uj + groups
    deriver = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while deriver.step(LATER) is not None:
        pass
    (*_, checked) = check_ledger(engine)
    assert any(f"table {table}" in defect and column in defect for defect in checked.defects), checked.defects
    assert all(defect.isprintable() for defect in checked.defects)
    assert deriver.seal(LATER) == (HOURS, HOUR)
    read = column not in ("low_uj", "high_uj", "memory_byte_seconds", "gpu_ms", "memory_request_byte_seconds")
    if read and (table, column) != ("pod_hour", "duration_ms"):
        assert left_out.rows + left_out.node_hours == 1
        assert len([r for r in caplog.records if "left out" in r.message]) == 1


@pytest.mark.parametrize("value", NO_COUNTS)
def test_a_node_whose_facts_hold_no_counts_is_still_a_node(engine: sa.Engine, value: object) -> None:
    two_nodes(engine)
    spoil(engine, "node", "threads", value)
    spoil(engine, "node_span", "last_end", value)
    with engine.connect() as connection:
        threads = {node.name: node.threads for node in read_nodes(connection, "default").values()}
    assert threads == {"node-1": 0, "node-2": 2}
    assert measured_uj(hour(engine)) == 2_100


def test_a_report_is_added_beside_a_row_that_holds_no_count(engine: sa.Engine) -> None:
    two_nodes(engine)
    spoil(engine, "node_hour", "measured_uj", NO_COUNTS[0] if engine.dialect.name == "sqlite" else -1)
    booker = Booker(engine)
    assert book(booker, a_report(HOUR + 60, "node-1"), a_report(HOUR + 60, "node-2")) == [BookingResult.STORED] * 2
    assert measured_uj({"node-2": hour(engine)["node-2"]}) == 1_050 + 1_000


def test_energy_of_a_pod_that_is_not_there_is_nobodys(engine: sa.Engine) -> None:
    two_nodes(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM pod_hour WHERE pod_id = (SELECT id FROM pod WHERE uid = 'pod-1')"))
    assert measured_uj(hour(engine)) == 2_100
    assert hour(engine)["node-1"].domains["cpu"].unseen_uj == 310


def test_a_node_whose_pods_hold_more_than_it_measured_is_left_out_and_the_hour_is_sealed(engine: sa.Engine) -> None:
    two_nodes(engine)
    with engine.begin() as connection:
        pod = "(SELECT id FROM pod WHERE uid = 'pod-1')"
        connection.execute(sa.text(f"UPDATE pod_energy SET energy_uj = 1000000000 WHERE pod_id = {pod}"))
    assert hour(engine).keys() == {"node-2"}
    assert left_out.node_hours == 1
    deriver = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while deriver.step(LATER) is not None:
        pass
    assert deriver.seal(LATER) == (HOURS, HOUR)
