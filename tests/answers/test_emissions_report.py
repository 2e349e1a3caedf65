"""The report: by ownership, with coverage and quality; closed once, and later differences are told."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from tests.answers.reported_days import DAY, Ledger
from tests.carbon.answering import Answer, answering
from tests.ledger.reports import a_report
from typer.testing import CliRunner

from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.answers.emissions_report import EmissionsReporter
from carbonbudget_operator.answers.report_comparison import restatement
from carbonbudget_operator.answers.time_ranges import TimeRangeError, parse_time_range
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.node_coverage import store_counts, store_listed
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", "2024-01-01", "2025-01-01"),
        ("2026-Q1", "2026-01-01", "2026-04-01"),
        ("2025-Q4", "2025-10-01", "2026-01-01"),
        ("2024-02", "2024-02-01", "2024-03-01"),
        ("2025-12", "2025-12-01", "2026-01-01"),
        ("2026-W01", "2025-12-29", "2026-01-05"),
        ("2020-W53", "2020-12-28", "2021-01-04"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
    ],
)
def test_periods_are_named_as_people_name_them(text: str, start: str, end: str) -> None:
    days = [dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d") for at in parse_time_range(text)]
    assert days == [start, end]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "26",
        "2026-Q5",
        "2026-13",
        "2026-W54",
        "2025-02-29",
        "Q1-2026",
        "2026-1",
        "0000",
        "9999-12-31",
        "9999-W52",
        "9999-12",
        "9999",
        "\uff12\uff10\uff12\uff16",  # digits to Python, another period to the ledger
        "2026-0\uff11",
        "2026\n",
    ],
)
def test_a_period_that_is_none_is_told(text: str) -> None:
    with pytest.raises(TimeRangeError, match="write 2026, 2026-Q1"):
        parse_time_range(text)


def test_the_figures_of_owned_nodes_and_of_a_clouds_stand_apart_and_add_up(ledger: Ledger) -> None:
    found = ledger.report("--period", "2025-07")
    owners = found["ownership"]
    assert set(owners) == {"owned", "cloud"}
    assert owners["owned"]["it_energy_uj"] == 60 * 4_000_100
    assert owners["cloud"]["it_energy_uj"] == 60 * 7_000_100
    for figure in ("it_energy_uj", "location_ug", "market_ug", "embodied_ug"):
        assert sum(part[figure] for part in owners.values()) == found["total"][figure] > 0
        assert sum(part[figure] for part in found["namespaces"].values()) == found["total"][figure]
    assert found["coverage_percent"] == 0  # two hours of nodes in a month, and no list of nodes
    assert found["total"]["measured_percent"] == 0
    total = found["total"]
    assert 0 < float(total["embodied_low_g"]) < float(total["embodied_g"]) < float(total["embodied_high_g"])
    (energy,) = found["energy"]
    assert (energy["domain"], energy["method"]) == ("cpu", "model")
    assert float(energy["low_kwh"]) < float(energy["kwh"]) < float(energy["high_kwh"])
    assert any("europe-west4" in factor for factor in found["factors"])
    assert any("noMarketFactor" in factor for factor in found["factors"])
    assert any(factor.startswith("embodied: server ") for factor in found["factors"])


def test_a_hole_in_the_record_shows_as_coverage(ledger: Ledger) -> None:
    ledger.book(a_report(DAY + 7200 - 60, "own", {"p1": 1}))
    span = ("--from", "2025-07-01T00:00:00Z", "--to", "2025-07-01T02:00:00Z")
    assert ledger.report(*span)["coverage_percent"] == 67  # 121 of 180 minutes


def test_time_after_the_last_report_is_a_hole_too_where_the_cluster_lists_the_node(ledger: Ledger) -> None:
    for at in (DAY - 600, DAY + 32 * 86_400):
        store_listed(ledger.engine, "default", {"own": "u1", "rented": "u2"}, at)
    assert ledger.report("--period", "2025-07-01")["coverage_percent"] == 4  # one hour of 24


def test_in_a_period_that_runs_only_what_is_still_on_its_way_is_no_hole(ledger: Ledger) -> None:
    for at in (DAY - 600, DAY + 86_400):
        store_listed(ledger.engine, "default", {"own": "u1", "rented": "u2"}, at)

    def coverage(now: int) -> object:
        reporter = EmissionsReporter(ledger.engine, Settings())
        list(reporter.run(DAY, DAY + 86_400, now))
        return reporter.result()["coverage_percent"]

    assert coverage(DAY + 3600 + 200) == 100
    assert coverage(DAY + 7200 + 300) == 50
    assert coverage(DAY + 86_400) == 4


@pytest.mark.parametrize(
    "args",
    [[], ["--period", "soon"], ["--period", "2025", "--from", "2025-01-01", "--to", "2025-01-02"],
     ["--from", "2025-01-02", "--to", "2025-01-01"], ["--from", "x", "--to", "2025-01-01"]],
)  # fmt: skip
def test_a_report_that_is_asked_wrongly_is_a_usage_error(ledger: Ledger, args: list[str]) -> None:
    ledger.run("report", *args, code=2)


def test_the_tables_and_the_csv_hold_the_same_figures(ledger: Ledger) -> None:
    total = ledger.report("--period", "2025-07")["total"]
    lines = ledger.run("report", "--period", "2025-07", "-o", "csv").splitlines()
    assert lines[0].startswith("kind,name,it_energy_kwh")
    assert lines[1].split(",")[2:5] == [total["it_energy_kwh"], total["facility_energy_kwh"], total["location_g"]]
    assert f"{float(total['location_g']):,.4f}" in ledger.run("report", "--period", "2025-07")


def test_factors_lists_every_node_and_says_which_cannot_be_placed(ledger: Ledger) -> None:
    said = ledger.run("factors")
    assert "own: zone WORLD" in said
    assert "rented: zone NL" in said
    assert "1 of 2 nodes cannot be placed" in said
    found = json.loads(ledger.run("factors", "-o", "json"))
    assert [(node["node"], node["placed"]) for node in found["nodes"]] == [("own", False), ("rented", True)]
    assert ledger.run("factors", "-o", "csv").startswith("node,region,zone")


def test_a_factor_that_is_not_the_same_any_more_is_named_in_the_restatement() -> None:
    before, after = {"factors": ["x" * 300, "a"]}, {"factors": ["x" * 300, "b"]}
    assert restatement(before, after) == ['factors: closed with "a", not so now', 'factors: closed without "b"']


def test_an_allocations_rows_say_which_factors_went_into_them_from_facts_as_from_what_is_kept(ledger: Ledger) -> None:
    def by_namespace() -> list[tuple[str, list[str]]]:
        found = json.loads(ledger.run("allocate", "--from", "2025-07-01", "--to", "2025-07-02", "-o", "json"))
        return [(row["key"]["namespace"], [found["factors"][at] for at in row["factors"]]) for row in found["rows"]]

    ledger.book(a_report(DAY + 3600, "own", {"p3": 9}, namespace="team-b"))  # on one of the nodes alone
    before = by_namespace()
    factors = dict(before)
    assert any(factor.startswith("NL ") and "Ember" in factor and "lifecycle" in factor for factor in factors["team-a"])
    assert any(factor.startswith("WORLD 458.29 g/kWh (lifecycle") for factor in factors["team-b"])
    assert not any(factor.startswith("NL ") for factor in factors["team-b"])
    deriver = UpkeepSteps(ValuedReader(ledger.engine, Settings()), 35, 25)
    while deriver.step(DAY + 40 * 86_400):
        pass
    assert by_namespace() == before
    assert "factor: WORLD 458.29" in ledger.run("allocate", "--from", "2025-07-01", "--to", "2025-07-02")


def test_names_that_a_terminal_would_take_for_markup_are_shown_as_they_are(ledger: Ledger) -> None:
    ledger.book(a_report(DAY + 3600, "own", {"[/bold]": 5, "[link=x]": 7}, namespace="[/red]"))
    said = ledger.run("allocate", "--from", "2025-07-01", "--to", "2025-07-02", "--group-by", "namespace,workload")
    assert "[/red]" in said
    assert "Pod/[/bold]" in said
    assert "[/red]" in ledger.run("report", "--period", "2025-07")


@pytest.mark.parametrize(
    "args",
    [("allocate", "--from", "2025-07-01", "--to", "2025-07-02"), ("report", "--period", "2025-07"), ("ledger", "check"),
     ("factors",)],
    ids=lambda args: args[0],
)  # fmt: skip
def test_a_ledger_that_is_damaged_is_said_in_a_sentence(ledger: Ledger, args: tuple[str, ...]) -> None:
    with ledger.engine.begin() as connection:
        for table in ("node_hour", "node"):
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO lost_{table}")
    said = ledger.run(*args, code=1)
    assert "no such table" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("args", [("allocate", "--from", "2025-07-01", "--to", "2025-07-02"), ("factors",)])
def test_a_configured_zone_that_is_none_is_said_and_no_other_stands_in(
    ledger: Ledger, tmp_path: Path, args: tuple[str, ...]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("carbon: {zone: ATLANTIS}")
    assert "'ATLANTIS' is no grid zone of the bundled tables" in ledger.run(*args, "--config", str(config), code=2)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(200, b"[1]", "no allocation: is that the carbonbudget server?"), (500, b'"down"', "500 and gave no reason"),
     (200, b"{}", "no allocation"), (403, b'{"reason": "you may not"}', "you may not"),
     (200, b"<html>", "cannot be asked")],
)  # fmt: skip
def test_a_server_that_answers_something_else_is_said_in_a_line(status: int, body: bytes, said: str) -> None:
    with answering() as server:
        server.answers = [Answer(body, status)]
        args = ["allocate", "--from", "2025-07-01", "--to", "2025-07-02", "--server-url", server.url]
        done = CliRunner().invoke(app, args)
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert said in done.output


def test_what_policies_cannot_change_any_more_is_told(ledger: Ledger) -> None:
    deriver = UpkeepSteps(ValuedReader(ledger.engine, Settings()), 35, 25)
    later = DAY + 60 * 86_400
    while deriver.step(later):
        pass
    assert deriver.seal(later) == (HOURS, DAY)
    done = ledger.run("allocate", "--from", "2025-07-01", "--to", "2025-07-02", "--idle", "even")
    assert "1 hour of that time is sealed" in done


def test_a_file_of_reports_is_read_line_by_line_and_no_further_than_a_report_may_be_long(
    ledger: Ledger, tmp_path: Path
) -> None:
    config, file = tmp_path / "config.yaml", tmp_path / "reports.jsonl"
    config.write_text("server: {max_report_bytes: 4000}")
    good = encode_report(a_report(DAY + 3600, "own"))
    file.write_text("x" * 20_000 + "\n" + good + "\n")
    said = ledger.run("ledger", "import", str(file), "--any-age", "--config", str(config), code=1)
    assert "larger than 4000 bytes" in said
    assert "1 stored" in said


def test_a_report_names_nodes_that_cannot_run_an_agent_and_does_not_miss_them(ledger: Ledger) -> None:
    assert "nodes_without_agent" not in ledger.report("--period", "2025-07")
    store_counts(ledger.engine, "default", {"": 2, "EKS Fargate": 12}, DAY + 600)
    store_counts(ledger.engine, "default", {"": 2, "EKS Fargate": 9, "not Linux": 0}, DAY + 86_400)
    found = ledger.report("--period", "2025-07")
    assert found["nodes_without_agent"] == {"EKS Fargate": 12}
    assert found["nodes_without_reports"] == []
    assert found["coverage_percent"] == 100
    shown = ledger.run("report", "--period", "2025-07")
    assert "no agent runs on up to 12 nodes (EKS Fargate): what ran there is in no figure" in shown
    assert "nodes_without_agent" not in ledger.report("--period", "2025-08")
