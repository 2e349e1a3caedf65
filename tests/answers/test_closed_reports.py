"""Closed reports: what they keep, what differs later, and how a closure is undone."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.answers.reported_days import DAY, Ledger, sha256_of
from tests.ledger.reports import a_report

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.node_coverage import store_listed


def test_a_period_whose_data_is_incomplete_is_not_closed_unawares(ledger: Ledger) -> None:
    said = ledger.run("report", "close", "2025-Q3", code=1)
    assert "all nodes have reported up to 2025-07-01 01:00 UTC only" in said
    assert "--incomplete" in said
    assert "closed" not in ledger.report("--period", "2025-Q3")
    ledger.book(a_report(DAY + 92 * 86_400 - 60, "own"))
    said = ledger.run("report", "close", "2025-Q3", code=1)  # up to the end, and three months are missing before
    assert "2025-Q3 lacks reports of 1 node (own)" in said
    assert "2025-Q3 is closed" in ledger.run("report", "close", "2025-Q3", "--incomplete")


def test_a_period_is_closed_once_and_what_differs_later_is_a_restatement(ledger: Ledger) -> None:
    said = ledger.run("report", "close", "2025-Q3", "--incomplete")
    assert "2025-Q3 is closed: sha256 " in said
    assert sha256_of(ledger.run("report", "close", "2025-Q3", "--incomplete")) == sha256_of(said)  # nothing changed
    assert ledger.report("--period", "2025-Q3")["closed"]["restatement"] == []
    before = ledger.report("--period", "2025-Q3")["total"]["it_energy_uj"]
    ledger.book(a_report(DAY + 3600, "own", {"p1": 3_000_000}, idle_uj=1_000_000))  # it came late
    assert "a period is closed once" in ledger.run("report", "close", "2025-Q3", "--incomplete", code=1)
    closed = ledger.report("--period", "2025-Q3")["closed"]
    assert sha256_of(said) == closed["sha256"]
    assert f"total.it_energy_uj: closed as {before}, now {before + 4_000_100}" in closed["restatement"]
    ledger.book(a_report(DAY + 7200, "third", {"p1": 5}))
    factors = "\n".join(ledger.report("--period", "2025-Q3")["closed"]["restatement"])
    assert "factors: closed with " not in factors  # every factor of that time is one still
    details = ledger.run("report", "--period", "2025-Q3", "--details").replace("\n", " ")
    assert "restatement: total.it_energy_uj" in details


@pytest.mark.parametrize("period", ["2020-01", "2024-Q1"])
def test_a_period_without_data_has_no_coverage_and_cannot_be_closed(ledger: Ledger, period: str) -> None:
    assert ledger.report("--period", period)["coverage_percent"] is None
    assert "coverage: no data" in ledger.run("report", "--period", period)
    for more in ((), ("--incomplete",)):
        assert "has no data" in ledger.run("report", "close", period, *more, code=1)
    assert "closed" not in ledger.report("--period", period)


def test_nodes_that_were_listed_and_never_reported_are_no_coverage_rather_than_no_data(ledger: Ledger) -> None:
    store_listed(ledger.engine, "default", {"silent": "uid-1"}, DAY - 86_400 * 30)
    store_listed(ledger.engine, "default", {"silent": "uid-1"}, DAY)
    assert ledger.report("--period", "2025-06")["coverage_percent"] == 0


def test_what_differs_from_a_closed_report_is_summed_up_for_people(ledger: Ledger) -> None:
    ledger.run("report", "close", "2025-Q3", "--incomplete")
    ledger.book(a_report(DAY + 3600, "own", {"p1": 3_000_000_000_000}, idle_uj=1_000_000))
    shown = ledger.run("report", "--period", "2025-Q3")
    assert "restatement: total location-based: closed as" in shown
    assert "values differ below the totals: --details lists each" in shown
    assert len([line for line in shown.splitlines() if line.startswith("restatement:")]) <= 5


def test_a_closed_report_is_shown_exported_and_verified_as_it_was_closed(ledger: Ledger, tmp_path: Path) -> None:
    before = ledger.report("--period", "2025-Q3")
    sha256 = sha256_of(ledger.run("report", "close", "2025-Q3", "--incomplete"))
    ledger.book(a_report(DAY + 3600, "own", {"p1": 3_000_000}, idle_uj=1_000_000))
    shown = json.loads(ledger.run("report", "show", "2025-Q3", "-o", "json"))
    assert shown["total"] == before["total"] != ledger.report("--period", "2025-Q3")["total"]
    assert sha256 in ledger.run("report", "show", "2025-Q3")
    file = tmp_path / "q3.json"
    ledger.run("report", "export", "2025-Q3", str(file))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    assert f"match sha256 {sha256}" in ledger.run("report", "verify", "2025-Q3", "--file", str(file))
    assert "exists already" in ledger.run("report", "export", "2025-Q3", str(file), code=2)
    assert "cannot be written" in ledger.run("report", "export", "2025-Q3", str(tmp_path / "no" / "q3.json"), code=2)
    file.write_bytes(file.read_bytes() + b"\n")
    assert "is not the report of 2025-Q3" in ledger.run("report", "verify", "2025-Q3", "--file", str(file), code=1)


def test_a_closed_report_that_was_changed_in_the_ledger_does_not_verify(ledger: Ledger) -> None:
    ledger.run("report", "close", "2025-Q3", "--incomplete")
    assert "match" in ledger.run("report", "verify", "2025-Q3")
    table = schema.closed_report
    with ledger.engine.begin() as connection:
        text = sa.func.replace(table.c.report, '"basis":"lifecycle"', '"basis":"direct"')
        connection.execute(sa.update(table).values(report=text))
    assert "is not the one that was closed" in ledger.run("report", "verify", "2025-Q3", code=1)


def test_a_closure_by_mistake_is_undone_and_stays_on_record(ledger: Ledger) -> None:
    assert "is not closed" in ledger.run("report", "reopen", "2025-Q3", "--reason", "wrong quarter", code=1)
    sha256 = sha256_of(ledger.run("report", "close", "2025-Q3", "--incomplete"))
    ledger.run("report", "reopen", "2025-Q3", code=2)
    ledger.run("report", "reopen", "2025-Q3", "--reason", " ", code=2)
    assert "is open again" in ledger.run("report", "reopen", "2025-Q3", "--reason", "wrong \x1b[2Jquarter")
    found = ledger.report("--period", "2025-Q3")
    assert "closed" not in found
    assert [(one["sha256"], one["reason"]) for one in found["reopened"]] == [(sha256, "wrong \x1b[2Jquarter")]
    assert r"reason: wrong \x1b[2Jquarter" in ledger.run("report", "--period", "2025-Q3")
    assert "is not closed" in ledger.run("report", "show", "2025-Q3", code=1)
    ledger.run("report", "close", "2025-Q3", "--incomplete")


def test_a_period_that_has_not_ended_cannot_be_closed(ledger: Ledger) -> None:
    assert "has not ended yet" in ledger.run("report", "close", "2099", code=1)


def test_a_closure_that_was_undone_is_listed_and_its_file_verifies_as_undone(ledger: Ledger, tmp_path: Path) -> None:
    sha256 = sha256_of(ledger.run("report", "close", "2025-Q3", "--incomplete"))
    file = tmp_path / "closed.json"
    ledger.run("report", "export", "2025-Q3", str(file))
    ledger.run("report", "reopen", "2025-Q3", "--reason", "=wrong, quarter")
    listed = ledger.run("report", "list")
    assert re.search(rf"2025-Q3  \S+ \S+ UTC  {sha256}  reopened on \S+ \S+ UTC, reason: =wrong, quarter", listed)
    lines = [line for line in ledger.run("report", "list", "-o", "csv").splitlines() if "," in line]
    assert lines[0] == "period,closed_at,sha256,reopened_at,reason"
    assert lines[1].startswith("2025-Q3,")
    assert lines[1].endswith(""","'=wrong, quarter\"""")
    for args in (("verify", "2025-Q3"), ("show", "2025-Q3")):
        said = ledger.run("report", *args, code=1)
        assert "2025-Q3 is not closed any more: it was closed on " in said
        assert f"{sha256}, and reopened on " in said
    undone = ledger.run("report", "verify", "2025-Q3", "--file", str(file), code=1)
    assert "is the report of 2025-Q3 that was closed on " in undone
    assert "(reason: =wrong, quarter), so the file is no longer valid" in undone
    ledger.book(a_report(DAY + 3600, "own", {"p1": 3_000_000}))
    ledger.run("report", "close", "2025-Q3", "--incomplete")
    assert "That closure was undone" in ledger.run("report", "verify", "2025-Q3", "--file", str(file), code=1)
    assert ledger.run("report", "list").count("2025-Q3  ") == 2
    assert "the report in the ledger matches sha256" in ledger.run("report", "verify", "2025-Q3")
