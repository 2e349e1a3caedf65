"""Coverage: by the nodes that the cluster listed, and by time where the ledger has no list of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.answers.test_emissions_report import DAY, Ledger
from tests.ledger.reports import a_report

from carbonbudget_operator.answers.report_coverage import coverage
from carbonbudget_operator.ledger.node_coverage import ExpectedNodeTime, store_listed

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
