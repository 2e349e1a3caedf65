"""`carbonbudget card`: from a ledger with runs of several stages to the forms, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, book
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, RUN, STAGE

FROM = ("--from", "2025-11-24T16:00:00Z", "--to", "2025-11-24T18:00:00Z")


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    chat = {MODEL: "org.chat"}
    for node, labels in (
        ("n1", chat | {RUN: "exp-1", MODEL_VERSION: "1.2", STAGE: "training"}),
        ("n2", chat | {RUN: "exp-2", MODEL_VERSION: "1.3", STAGE: "training"}),
        ("n3", chat | {MODEL_VERSION: "1.3", STAGE: "inference"}), ("n4", chat), ("n5", {MODEL: "other"}),
    ):  # fmt: skip
        book(Booker(engine), a_report(HOUR, node, {f"pod-{node}": 10**12}, labels=labels))
    engine.dispose()
    return url


def card(ledger: str, *args: str, model: str = "org/chat") -> Result:
    return CliRunner().invoke(app, ["card", "-n", "team-a", "--model", model, *FROM, "--ledger", ledger, *args])


def test_all_pods_of_the_model_count_by_stage_and_those_without_one_apart(ledger: str) -> None:
    value = json.loads(card(ledger).stdout)
    assert (value["namespace"], value["model"], value["runs"]) == ("team-a", "org.chat", 2)
    assert list(value["stages"]) == ["training", "inference", "without-stage"]
    amounts = [stage["energy_kwh"] for stage in value["stages"].values()]
    assert float(amounts[0]) == pytest.approx(2 * float(amounts[1]))
    assert float(value["total"]["energy_kwh"]) == pytest.approx(sum(map(float, amounts)))


def test_its_sums_are_those_of_allocate(ledger: str) -> None:
    total = json.loads(card(ledger).stdout)["total"]
    allocated = CliRunner().invoke(
        app, ["allocate", *FROM, "--ledger", ledger, "--group-by", "namespace,model", "-o", "json"]
    )
    rows = {row["key"]["model"]: row for row in json.loads(allocated.stdout)["rows"] if "model" in row["key"]}
    facility = float(total.pop("facility_energy_kwh"))
    assert {name: rows["org.chat"][name] for name in total} == total
    pue = 1.58  # of the bundled table, for nodes of no known provider
    assert facility == pytest.approx(float(total["energy_kwh"]) * pue)
    assert set(total) > {"energy_kwh", "location_g", "embodied_g"}


def test_a_version_is_of_its_own_pods_alone(ledger: str) -> None:
    value = json.loads(card(ledger, "--version", "1.3").stdout)
    assert list(value["stages"]) == ["training", "inference"]
    assert value["runs"] == 1


def test_pods_without_a_stage_count_where_one_is_named_for_them(ledger: str) -> None:
    value = json.loads(card(ledger, "--unlabelled-stage", "training").stdout)
    assert list(value["stages"]) == ["training", "inference"]


def test_a_card_is_written_to_a_new_file_and_replaces_none(ledger: str, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    assert card(ledger, "--format", "hf", "--output-file", str(file)).exit_code == 0
    assert file.read_text().startswith("---\nco2_eq_emissions:\n  emissions: ")
    again = card(ledger, "--format", "hf", "--output-file", str(file))
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_a_model_that_no_pod_has_is_told_and_makes_no_card(ledger: str) -> None:
    done = card(ledger, model="chatt")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no pod in namespace team-a had carbonbudget.dev/model=chatt in that time" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--consumer-units", "many tokens"), "as in '1.2e6 token'"),
        (("--version", "///"), "has no letter and no digit"),
        (("--unlabelled-stage", "play"), "data"),
        (("--format", "pdf"), "hf"),
    ],
)
def test_wrong_use_is_one_sentence(ledger: str, args: tuple[str, ...], said: str) -> None:
    done = card(ledger, *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
