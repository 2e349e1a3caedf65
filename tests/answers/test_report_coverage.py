"""Coverage: by the nodes that the cluster listed, and by time where the ledger has no list of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.answers.test_emissions_report import DAY, Ledger
from tests.ledger.reports import a_report

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.answers.report_coverage import coverage, nodes_with_gaps
from carbonbudget_operator.ledger.node_coverage import ExpectedNodeTime, store_counts, store_listed

HOUR = 3600


def node(name: str, start: int, end: int | None) -> ExpectedNodeTime:
    return ExpectedNodeTime(name, start, end, silent=False)


@pytest.mark.parametrize(
    ("expected", "reported_hours", "listed_from", "percent"),
    [
        ([node("a", 0, 12 * HOUR)], 12, None, 50),  # the other half of the day has no report
        ([node("a", 6 * HOUR, 12 * HOUR)], 6, None, 25),
        ([node("a", 0, 12 * HOUR), node("b", 0, 12 * HOUR)], 18, None, 37),
        ([node("a", 0, 12 * HOUR), node("b", 12 * HOUR, 24 * HOUR)], 24, None, 100),  # one after the other
        ([node("a", 0, 24 * HOUR)], 24, None, 100),
        ([node("a", 12 * HOUR, None)], 12, 12 * HOUR, 50),  # listed from noon on: the morning is not known
        ([node("a", 12 * HOUR, None)], 12, 0, 100),  # listed all day: it joined at noon
        ([node("a", 12 * HOUR, 13 * HOUR)], 1, 0, 100),
        ([], 1, None, None),
        ([], 0, None, None),
        ([node("a", 30 * HOUR, None)], 0, None, None),
    ],
)
def test_time_without_a_report_and_without_a_list_of_nodes_is_not_covered(
    expected: list[ExpectedNodeTime], reported_hours: int, listed_from: int | None, percent: int | None
) -> None:
    found = coverage(expected, reported_hours * HOUR * 1000, 0, 24 * HOUR, listed_from)
    assert found.percent == percent


@pytest.fixture
def two_minutes(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    made.book(*(a_report(DAY + 60 * minute, "own", {"p": 3_000_000}) for minute in range(2)))
    yield made
    made.engine.dispose()


def test_two_minutes_of_a_day_are_less_than_a_hundredth_of_it_and_closing_says_the_same(two_minutes: Ledger) -> None:
    found = two_minutes.report("--period", "2025-07-01")
    assert found["coverage_percent"] == 0
    assert (found["coverage_reported_ms"], found["coverage_expected_ms"]) == (120_000, 86_400_000)
    said = two_minutes.run("report", "--period", "2025-07-01")
    line = "coverage less than 1 % of the nodes' time: 2 of 1,440 node-minutes\n"
    assert line in said
    assert "the ledger has no list of the cluster's nodes of that time: time in which no node reported counts" in said
    refused = two_minutes.run("report", "close", "2025-07-01", code=1)
    assert (
        "if no more reports will come, close it as it is with --incomplete (its coverage would be less than" in refused
    )
    assert line in two_minutes.run("report", "close", "2025-07-01", "--incomplete")
    assert line in two_minutes.run("report", "show", "2025-07-01")
    assert json.loads(two_minutes.run("report", "show", "2025-07-01", "-o", "json"))["coverage_percent"] == 0


def test_where_the_cluster_listed_its_nodes_they_alone_say_what_should_be_there(two_minutes: Ledger) -> None:
    for at in (DAY - 600, DAY + 120, DAY + 86_400 * 2):
        store_listed(two_minutes.engine, "default", {"own": "u1"} if at < DAY + 200 else {"later": "u2"}, at)
    found = two_minutes.report("--period", "2025-07-01")
    assert found["coverage_percent"] == 100
    assert "nodes_listed_from" not in found


@pytest.mark.parametrize(
    ("reported_s", "lacking"),
    [
        ({"a": 86_400, "b": 43_200}, []),
        ({"a": 86_400 - 300, "b": 43_200}, []),  # as long as a node may be silent and not hold anything back
        ({"a": 86_400 - 301, "b": 43_200}, ["a"]),
        ({"a": 86_400 + 50_000, "b": 42_000}, ["b"]),  # what one has too much makes up for no other
        ({"b": 43_200, "c": 5}, ["a"]),
        ({}, ["a", "b"]),
    ],
)
def test_each_node_that_lacks_more_than_five_minutes_is_named(reported_s: dict[str, int], lacking: list[str]) -> None:
    expected = [node("a", -HOUR, 3 * HOUR), node("a", 3 * HOUR, None), node("b", 12 * HOUR, None)]
    expected.append(node("gone", -HOUR, 0))
    reported_ms = {name: seconds * 1000 for name, seconds in reported_s.items()}
    assert nodes_with_gaps(expected, reported_ms, 0, 24 * HOUR, 300) == lacking


def a_day(node_name: str, first: int = 0, last: int = 24) -> list[NodeReport]:
    return [
        a_report(DAY + hour * HOUR + 60 * of, node_name, {"p": 9}) for hour in range(first, last) for of in range(60)
    ]


def listed(ledger: Ledger, *names: str, at: int = DAY + 86_400) -> None:
    for time in (DAY - 600, at):
        store_listed(ledger.engine, "default", {name: f"uid-{name}" for name in names}, time)


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Ledger]:
    """A node that reported all day, and a minute of the next one."""
    made = Ledger(tmp_path)
    made.book(*a_day("own"), a_report(DAY + 86_400, "own", {"p": 9}))
    yield made
    made.engine.dispose()


@pytest.mark.parametrize(("first", "last"), [(0, 18), (6, 24), (0, 0)])
def test_a_node_that_was_silent_for_hours_keeps_a_period_from_being_closed(day: Ledger, first: int, last: int) -> None:
    if last:
        day.book(*a_day("silent", first, last))
    listed(day, "own", "silent")
    said = " ".join(day.run("report", "close", "2025-07-01", code=1).split())
    assert "2025-07-01 lacks reports of 1 node (silent), of more than 5 minutes each: wait until agents" in said
    percent = {(0, 18): "87 %", (6, 24): "87 %", (0, 0): "50 %"}[first, last]
    assert f"close it as it is with --incomplete (its coverage would be {percent})" in said
    day.run("report", "close", "2025-07-01", "--incomplete")


def test_a_period_of_which_all_listed_nodes_reported_is_closed(day: Ledger) -> None:
    """Also with a node that joined during it, one that left, and one on which no agent runs, which is not listed."""
    day.book(*a_day("joined", 20), *a_day("left", 0, 4))
    for at, names in (
        (0, ["own", "left"]),
        (4 * HOUR, ["own", "left"]),
        (20 * HOUR, ["own", "joined"]),
        (86_400, ["own", "joined"]),
    ):
        store_listed(day.engine, "default", {name: f"uid-{name}" for name in names}, DAY + at)
    store_counts(day.engine, "default", {"Fargate": 5}, DAY)
    assert day.report("--period", "2025-07-01")["coverage_percent"] == 100
    day.run("report", "close", "2025-07-01")


def test_of_many_silent_nodes_three_are_named(day: Ledger) -> None:
    listed(day, "own", *(f"n{number}" for number in range(5)))
    assert "5 nodes (n0, n1, n2 and 2 more)" in " ".join(day.run("report", "close", "2025-07-01", code=1).split())
