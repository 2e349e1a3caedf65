"""Hours are sealed, dropped and forgotten, and keep their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.event import listen
from tests.ledger.reports import a_report, book
from tests.valued_hours.filled_ledger import DAY, HOUR, NOW, SETTINGS, keep, seal, sums

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.fact_reader import read_hour, read_nodes
from carbonbudget_operator.ledger.facts import NodeFacts
from carbonbudget_operator.ledger.retention import drop_before
from carbonbudget_operator.ledger.seal import seal_hour
from carbonbudget_operator.ledger.stored_units import (
    HOURS,
)
from carbonbudget_operator.ledger.unreadable_rows import left_out
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valuation.node_factors import NodeHardware, Places
from carbonbudget_operator.valued_hours.upkeep_steps import UnitError, UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader


def test_a_sealed_hour_gives_up_its_pods_and_keeps_its_answers(filled: sa.Engine) -> None:
    before = sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW)))
    assert seal(filled, NOW) == []  # nothing is kept yet
    keep(filled)
    assert len(seal(filled, DAY + 37 * 86_400)) == 5  # the first day's
    assert len(seal(filled, NOW)) == 10
    assert sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW))) == before
    assert sums(list(ValuedReader(filled, SETTINGS).rows(DAY + 1800, NOW - 1800))).keys() <= before.keys()
    with filled.connect() as connection:
        for table in ("pod_hour", "pod_energy", "pod", "node_windows"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0, table
    *_, checked = check_ledger(filled)
    assert (checked.defects, checked.slices) == ([], 30)
    by_node = list(ValuedReader(filled, SETTINGS).rows(0, NOW, by_node=True))
    assert {row.node for row in by_node} == {"__sealed__"}
    assert sums(by_node) == before


def test_settings_that_change_later_do_not_touch_what_is_sealed(filled: sa.Engine) -> None:
    keep(filled)
    seal(filled, DAY + 37 * 86_400)  # the first day
    french = Settings(carbon=CarbonSettings(zone="FR", pue=1.2))
    day = (DAY, DAY + 86_400)
    german = sums(list(ValuedReader(filled, SETTINGS).rows(*day)))
    assert sums(list(ValuedReader(filled, french).rows(*day))) == german
    keep(filled, french)
    assert sums(list(ValuedReader(filled, french).rows(*day))) == german
    later = (DAY + 86_400, NOW)
    assert sums(list(ValuedReader(filled, french).rows(*later))) != sums(
        list(ValuedReader(filled, SETTINGS).rows(*later))
    )


def test_what_former_settings_left_is_dropped_when_the_new_ones_have_settled(filled: sa.Engine) -> None:
    keep(filled)
    seal(filled, DAY + 37 * 86_400)  # the first day, under the former settings
    french = Settings(carbon=CarbonSettings(zone="FR", pue=1.2))
    keep(filled, french)
    before = sums(list(ValuedReader(filled, french).rows(0, NOW)))
    deriver = UpkeepSteps(ValuedReader(filled, french), 35, 25)

    def derivations() -> Counter[int]:
        with filled.connect() as connection:
            return Counter(connection.scalars(sa.text("SELECT derivation_id FROM valued_unit")))

    deriver.drop(NOW)
    former, latest = sorted(derivations())
    assert derivations()[former] > 4
    for _ in range(3):
        deriver.drop(NOW + 3600)
    assert set(derivations()) == {former, latest}  # sealed hours were made with it: it stays whole
    with filled.begin() as connection:
        connection.execute(sa.text("DELETE FROM sealed_hour"))
    for _ in range(3):
        deriver.drop(NOW + 3600)
    assert set(derivations()) == {latest}
    with filled.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM derivation")) == 1
        assert (
            connection.scalar(sa.text("SELECT count(*) FROM valued_row WHERE derivation_id = :id"), {"id": former}) == 0
        )
    assert before


def test_a_report_of_a_sealed_hour_is_refused_and_changes_nothing(filled: sa.Engine) -> None:
    keep(filled)
    seal(filled, DAY + 37 * 86_400)
    assert book(Booker(filled), a_report(DAY + 600, "n1", {"late": 5}), a_report(DAY + 30 * HOUR)) == [
        BookingResult.SEALED, BookingResult.STORED,
    ]  # fmt: skip
    *_, checked = check_ledger(filled)
    assert checked.defects == []


def test_rows_that_were_tampered_with_are_found_by_the_check_and_hinder_a_seal(filled: sa.Engine) -> None:
    keep(filled)
    with filled.begin() as connection:
        connection.exec_driver_sql("UPDATE valued_row SET idle_uj = idle_uj + 1 WHERE level = 0")
    with pytest.raises(UnitError, match="were measured, its rows hold"):
        seal(filled, NOW)


def test_after_its_time_an_hour_is_dropped_with_all_that_was_kept_of_it(filled: sa.Engine) -> None:
    keep(filled)
    seal(filled, NOW)
    UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 2).drop(NOW + 40 * 86_400)  # in January: November is kept
    rows = list(ValuedReader(filled, SETTINGS).rows(0, NOW))
    assert rows
    assert min(row.start for row in rows) >= 0
    with filled.connect() as connection:
        assert connection.exec_driver_sql("SELECT min(start) FROM node_hour").scalar() >= DAY + 86_400
    *_, checked = check_ledger(filled)
    assert checked.defects == []
    UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 2).drop(NOW + 90 * 86_400)
    assert list(ValuedReader(filled, SETTINGS).rows(0, NOW)) == []


def test_nodes_are_forgotten_with_the_last_of_their_hours(filled: sa.Engine) -> None:
    book(Booker(filled), a_report(DAY - 86_400, "spot"), a_report(DAY - 86_400, "stays"))
    book(Booker(filled), a_report(NOW, "stays"))

    def nodes(table: str = "node") -> set[str]:
        with filled.connect() as connection:
            key = "id" if table == "node" else "node_id"
            return set(connection.scalars(sa.text(f"SELECT name FROM node WHERE id IN (SELECT {key} FROM {table})")))

    assert nodes() == nodes("node_span") == {"spot", "stays", "n1", "n2"}
    drop_before(filled, DAY, BatchDeleter(filled))
    assert nodes() == nodes("node_span") == {"stays", "n1", "n2"}
    book(Booker(filled), a_report(NOW, "spot"))  # it comes back
    drop_before(filled, NOW - NOW % HOUR, BatchDeleter(filled))
    assert nodes() == nodes("node_span") == {"stays", "spot"}
    *_, checked = check_ledger(filled)
    assert (checked.nodes, checked.pods, checked.defects) == (2, 2, [])


def test_an_hour_costs_by_its_own_nodes_not_by_all_that_ever_were(filled: sa.Engine) -> None:
    with filled.begin() as connection:
        former = [{"id": n, "cluster": "default", "name": f"former-{n}"} for n in range(1000, 3000)]
        connection.execute(sa.insert(schema.node), former)
        spans = [{"node_id": node["id"], "first_start": DAY, "last_end": DAY + 60} for node in former]
        connection.execute(sa.insert(schema.node_span), spans)
    with filled.connect() as connection:
        assert {node.name for node in read_nodes(connection, "default", DAY).values()} == {"n1", "n2"}
        assert len(read_nodes(connection, "default")) == 2002
        assert len(read_hour(connection, "default", DAY)) == 2
        assert read_hour(connection, "default", DAY + HOUR) == []


def test_a_pod_that_goes_on_outlives_the_sealing_of_its_first_hours(filled: sa.Engine) -> None:
    keep(filled)
    assert len(seal(filled, DAY + 37 * 86_400)) == 5  # the first day's
    with filled.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM pod")) > 0
        orphans = "SELECT count(*) FROM pod_hour WHERE pod_id NOT IN (SELECT id FROM pod)"
        assert connection.scalar(sa.text(orphans)) == 0
    before = sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW)))
    seal(filled, NOW)
    assert sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW))) == before


def test_two_servers_seal_an_hour_once(filled: sa.Engine) -> None:
    keep(filled)
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)
    assert deriver.seal(NOW) == (HOURS, DAY)
    with filled.connect() as connection:
        derivation_id = ValuedReader(filled, SETTINGS).derived.id(connection)
    assert derivation_id is not None
    seal_hour(filled, "default", DAY, derivation_id, NOW + 5)  # another one that had not seen it yet
    with filled.connect() as connection:
        assert connection.scalars(sa.text("SELECT sealed_at FROM sealed_hour")).all() == [NOW]


def test_what_sealing_costs_grows_with_the_hour_and_not_with_its_square(
    new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    """Counted in statements: it took 97 s for 30,000 pods. Pods are forgotten some hundreds at a time."""
    counts = []
    for nodes in (2, 40):
        engine = open_engine(new_url())
        reports = [a_report(DAY, f"n{node}", {f"p{node}-{pod}": 5 for pod in range(30)}) for node in range(nodes)]
        book(Booker(engine), *reports)
        keep(engine)
        statements: list[str] = []
        listen(engine, "before_cursor_execute", lambda *args, seen=statements: seen.append(args[2]))
        assert seal(engine, NOW) == [DAY]
        counts.append(len(statements))
    assert counts[1] - counts[0] <= 2 * (40 * 30 // 200)


def test_a_node_that_cannot_be_valued_is_left_out_and_its_hour_is_kept_and_sealed(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    book(Booker(engine), *(a_report(DAY, node, {f"p-{node}": 300}, labels={}) for node in ("n1", "n2", "n3")))
    hardware = Places.hardware

    def poisoned(places: Places, node: NodeFacts, gpus: int | None = None) -> NodeHardware:
        if node.name == "n2":
            raise OverflowError("more GPUs than a figure can hold")
        return hardware(places, node, gpus)

    monkeypatch.setattr(Places, "hardware", poisoned)
    left_out._node_hours.clear()
    assert keep(engine)[HOURS] == 1
    rows = list(ValuedReader(engine, SETTINGS).rows(DAY, DAY + HOUR))
    assert {row.workload for row in rows if row.workload} == {"Pod/p-n1", "Pod/p-n3"}
    assert left_out.node_hours == 1
    assert seal(engine, NOW) == [DAY]


def test_figures_that_no_database_holds_are_left_out_with_their_node(engine: sa.Engine) -> None:
    figures = {f"n{n}": 2**58 for n in range(4)} | {"n4": 300}
    reports = [a_report(DAY, node, {"p": uj}, labels={}) for node, uj in figures.items()]
    book(Booker(engine, max_node_watts=10**12), *reports)
    far = Settings(carbon=CarbonSettings(zone="WORLD", pue=5.0))
    left_out._node_hours.clear()
    deriver = UpkeepSteps(ValuedReader(engine, far), 35, 25)
    while deriver.step(NOW) is not None:
        pass
    (left,) = [row for row in ValuedReader(engine, far).rows(DAY, DAY + HOUR) if row.workload]
    assert left.figures[0] < 10_000
    assert left_out.node_hours == 4
    assert seal(engine, NOW, far) == [DAY]
