"""What differs for each pod, a label's value or its name, stays bounded, is counted, and loses no energy."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.ledger import label_limits as module
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.fact_reader import read_hour
from carbonbudget_operator.ledger.label_limits import LabelBound
from carbonbudget_operator.run_labels import MODEL, RUN, RUN_LABELS
from carbonbudget_operator.special_label_values import OTHER_VALUES


def values(engine: sa.Engine, hour: int = HOUR) -> dict[str, int]:
    """Energy by the label `run`."""
    found: dict[str, int] = {}
    with engine.connect() as connection:
        for item in read_hour(connection, "default", hour):
            for group in item.groups:
                run = group.group.labels["run"]
                found[run] = found.get(run, 0) + group.energy_uj.get("cpu", 0)
    return found


def test_ten_thousand_values_become_the_bound_and_one_more_and_all_energy_counts(engine: sa.Engine) -> None:
    booker = Booker(engine, max_label_values=100)
    for node in range(100):
        reports = [
            replace(a_report(HOUR, f"n{node}", {f"p{node}-{i}": 7}, labels={"run": f"{node}-{i}", "app": "x"}), part=i)
            for i in range(100)
        ]
        assert set(book(booker, *reports)) == {BookingResult.STORED}
    found = values(engine)
    assert len(found) == 101
    assert found[OTHER_VALUES] == 7 * 9_900
    assert sum(found.values()) == 70_000
    assert booker.ids.label_bound.collapsed == 9_900
    *_, checked = check_ledger(engine)
    assert checked.defects == []


def test_a_pod_that_goes_on_keeps_the_value_it_got(engine: sa.Engine) -> None:
    booker = Booker(engine, max_label_values=1)
    for minute in range(3):
        book(booker, a_report(HOUR + 60 * minute, pods={"p": 7}, labels={"run": "first"}))
        book(booker, a_report(HOUR + 60 * minute, "n2", {"q": 5}, labels={"run": "second"}))
    assert values(engine) == {"first": 21, OTHER_VALUES: 15}
    assert booker.ids.label_bound.collapsed == 1  # asked for once, when the pod was new
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM pod")) == 2


@pytest.mark.parametrize(("namespace", "day"), [("team-b", 1), ("team-a", 2)])
def test_namespaces_and_days_have_each_their_own_room(namespace: str, day: int) -> None:
    bound = LabelBound(1)
    assert bound.bound("team-a", {"run": "1", "app": "x"}, 1) == {"run": "1", "app": "x"}
    assert bound.bound("team-a", {"run": "2", "app": "x"}, 1) == {"run": OTHER_VALUES, "app": "x"}
    assert bound.bound(namespace, {"run": "2"}, day) == {"run": "2"}


def test_labels_names_are_bounded_by_namespace_and_those_that_came_first_stay() -> None:
    bound = LabelBound(100)
    for i in range(1_000):
        assert bound.bound("team-a", {f"n{i}": ""}, 1) == {f"n{i}": ""}
    assert bound.bound("team-a", {"n7": "x", "one-more": ""}, 1) == {"n7": "x"}
    assert bound.collapsed == 1
    assert bound.bound("team-b", {"one-more": ""}, 1) == {"one-more": ""}
    assert bound.bound("team-a", {"one-more": ""}, 2) == {"one-more": ""}


def test_labels_names_of_all_namespaces_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_NAMES_IN_ALL", 10)
    bound = LabelBound(100)
    kept = [bound.bound(f"ns-{i}", {"app": "x"}, 1) for i in range(20)]
    assert kept == [{"app": "x"}] * 10 + [{}] * 10


def test_a_pod_whose_labels_have_too_many_names_loses_no_energy(engine: sa.Engine) -> None:
    booker = Booker(engine)
    for i in range(20):
        labels = {"run": "r"} | {f"{i}-{j}": "" for j in range(63)}
        report = a_report(HOUR, f"n{i}", {"p": 7}, labels=labels)
        assert book(booker, report) == [BookingResult.STORED]
        assert book(booker, replace(report, window_start=HOUR + 60, window_end=HOUR + 120, since=HOUR + 60)) == [
            BookingResult.STORED
        ]
    assert values(engine) == {"r": 280}
    assert booker.ids.label_bound.collapsed == 63 * 20 - 999  # asked for once, when the pods were new
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM pod")) == 20


def test_check_finds_facts_of_nodes_and_pods_that_are_not_there(engine: sa.Engine) -> None:
    book(Booker(engine), a_report(), a_report(node="node-2"))
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        connection.execute(sa.text("DELETE FROM pod WHERE node_id = (SELECT id FROM node WHERE name = 'node-1')"))
    *_, checked = check_ledger(engine)
    assert len(checked.defects) == 2
    assert "node that is not there" in checked.defects[0]
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM pod_energy"))
        connection.execute(sa.text("DELETE FROM pod"))
        connection.execute(sa.text("UPDATE node_hour SET idle_uj = measured_uj, system_uj = 0, unseen_uj = 0"))
        connection.execute(sa.text("DELETE FROM node WHERE name = 'node-1'"))
    *_, checked = check_ledger(engine)
    assert [defect.partition(": ")[2].partition(" (")[0] for defect in checked.defects] == [
        "of a node that is not there"
    ]


def test_the_labels_of_runs_are_stored_where_other_labels_have_used_up_all_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MAX_VALUES_IN_ALL", 10)
    bound = LabelBound(100)
    for i in range(1_000):
        bound.bound("team-a", {f"n{i}": ""}, 1)
    for i in range(20):
        bound.bound("team-b", {"build": str(i)}, 1)
    assert bound.bound("team-b", {"build": "new"}, 1) == {"build": OTHER_VALUES}
    its = dict.fromkeys(RUN_LABELS, "x")
    assert bound.bound("team-a", its | {"one-more": ""}, 1) == its
    assert bound.bound("team-a", {RUN: "y"}, 1) == {RUN: "y"}


def test_the_values_of_a_namespaces_runs_are_bounded_and_are_no_other_namespaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bound = LabelBound(3)
    kept = [bound.bound("team-a", {RUN: f"r{i}", MODEL: "m"}, 1)[RUN] for i in range(5)]
    assert kept == ["r0", "r1", "r2", OTHER_VALUES, OTHER_VALUES]
    assert bound.bound("team-b", {RUN: "r9"}, 1) == {RUN: "r9"}
    monkeypatch.setattr(module, "_MAX_VALUES_IN_ALL", 2)
    assert bound.bound("team-b", {RUN: "r10"}, 1) == {RUN: OTHER_VALUES}
    assert bound.bound("team-b", {"app": "a"}, 1) == {"app": "a"}
    assert bound.bound("team-b", {"app": "b"}, 1) == {"app": "b"}
