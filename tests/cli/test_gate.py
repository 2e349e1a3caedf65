"""`carbonbudget gate`: exit codes, and its answer as text, JSON and JUnit."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, book
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, RUN, STAGE

SINCE = ("--from", "2025-11-24")
VERSIONS = ("--model", "chat", "--version", "1.3", "--against", "1.2")


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    for node, version, energy_uj in (("n1", "1.2", 10**12), ("n2", "1.3", 2 * 10**12)):
        labels = {MODEL: "chat", MODEL_VERSION: version, STAGE: "training", RUN: f"exp-{version}"}
        book(Booker(engine), a_report(HOUR, node, {f"pod-{node}": energy_uj}, labels=labels))
    engine.dispose()
    return url


def gate(ledger: str, *args: str) -> Result:
    return CliRunner().invoke(app, ["gate", "-n", "team-a", *SINCE, "--ledger", ledger, *args])


def test_a_run_above_its_limit_ends_with_4(ledger: str) -> None:
    done = gate(ledger, "--run", "exp-1.3", "--max", "1mg")
    assert done.exit_code == 4
    assert done.stdout.startswith("failed: run exp-1.3 emitted ")
    assert ", more than 1mg; the figure is provisional" in done.stdout


def test_a_run_within_its_limit_ends_with_3_while_its_hour_is_not_over(ledger: str) -> None:
    done = gate(ledger, "--run", "exp-1.3", "--max", "5kg")
    assert (done.exit_code, done.stdout.split(":")[0]) == (3, "warned")


def test_a_version_that_emitted_more_than_allowed_ends_with_4_and_says_by_how_much(ledger: str) -> None:
    assert gate(ledger, *VERSIONS, "--max-increase", "10").exit_code == 5  # version 1.2 may still rise
    engine = open_ledger(ledger)
    for node in ("n1", "n2"):  # the hour is over
        book(Booker(engine), a_report(HOUR + 3600, node, {}))
    engine.dispose()
    done = gate(ledger, *VERSIONS, "--max-increase", "10")
    assert done.exit_code == 4
    assert "% more than training of chat 1.2; +10 % is allowed" in done.stdout
    assert gate(ledger, *VERSIONS, "--max-increase", "200%").exit_code == 0


@pytest.mark.parametrize(
    "args", [("--run", "exp-9", "--max", "5kg"), (*VERSIONS[:-1], "1.1", "--max-increase", "10")]
)  # fmt: skip
def test_what_no_pod_is_of_ends_with_5_and_says_where_to_look(ledger: str, args: tuple[str, ...]) -> None:
    done = gate(ledger, *args)
    assert done.exit_code == 5
    assert "see `carbonbudget usage -n team-a`" in done.stdout


def test_json_has_the_verdict_and_exact_figures(ledger: str) -> None:
    value = json.loads(gate(ledger, "--run", "exp-1.3", "--max", "1mg", "-o", "json").stdout)
    assert (value["verdict"], value["exitCode"], value["limit_ug"]) == ("failed", 4, "1000")
    assert int(value["emitted_ug"]) > 1000


@pytest.mark.parametrize(
    ("args", "counts", "child"),
    [
        (("--run", "exp-1.3", "--max", "1mg"), ("1", "0"), "failure"),
        (("--run", "exp-9", "--max", "1mg"), ("0", "1"), "error"),
        (("--run", "exp-1.3", "--max", "5kg"), ("0", "0"), "system-out"),
    ],
)
def test_junit_has_one_case_that_fails_errs_or_passes(
    ledger: str, args: tuple[str, ...], counts: tuple[str, str], child: str
) -> None:
    suite = ElementTree.fromstring(gate(ledger, *args, "-o", "junit").stdout)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", *counts)
    (case,) = suite
    assert [part.tag for part in case] == [child]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "give --run and --max, or --model"),
        (("--run", "a"), "give --run and --max, or --model"),
        (("--run", "a", "--max", "1kg", "--model", "b"), "give --run and --max, or --model"),
        (("--model", "a", "--version", "1"), "give --run and --max, or --model"),
        (("--run", "a", "--max", "5"), "must be a number with a unit"),
        (("--run", "a", "--max", "9999999999t"), "'9999999999t' has too many digits: write at most 9"),
        ((*VERSIONS, "--max-increase", "1e99"), "such as 10 or -5"),
        *(
            ((*VERSIONS, "--max-increase", number), "between -100 and 1,000,000")
            for number in ("-101", "1000001", "999999999", "9" * 5000, "0" * 5000, "+99999999.5%", "0.0000000001")
        ),
        *(
            ((*VERSIONS, "--max-increase", text), "such as 10 or -5")
            for text in ("nan", "inf", "0x10", "1_0", " 5", "%")
        ),
        *(
            ((*VERSIONS[:-1], same, "--max-increase", "10"), "are the same version '1.3'")
            for same in ("1.3", "1.3-", "/1.3")
        ),
        (("--run", "/", "--max", "5kg"), "no letter and no digit"),
    ],
)
def test_wrong_use_is_one_sentence_and_ends_with_2(ledger: str, args: tuple[str, ...], said: str) -> None:
    done = gate(ledger, *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--target", "team-a/chat", "--run", "exp-1", "--max", "5kg"], "give --target alone"),
        (["--target", "team-a/chat", "-n", "team-b"], "leave -n out"),
        (["--target", "team-a/chat/x"], "--target must be NAMESPACE/NAME"),
        (["--target", "/chat"], "--target must be NAMESPACE/NAME"),
        (["--target", "Team A"], "--target must be NAMESPACE/NAME"),
        (["--target", "chat", "--ledger", "sqlite:///x.db"], "--target asks a server"),
        (["--target", "team-a/chat", "--embodied"], "leave all other options of a gate out"),
        (["--target", "team-a/chat", "--from", "2026-01-01"], "leave all other options of a gate out"),
        (["--target", "team-a/chat", "--stage", "inference"], "leave all other options of a gate out"),
        ([], "give --run and --max, or --model"),
        (["--target", ""], "give --run and --max, or --model"),
        (["--run", "exp-1", "--max", "5kg"], "give --namespace too: a run is of one namespace"),
        (["-n", "No/Name", "--run", "exp-1", "--max", "5kg"], "--namespace: 'No/Name' can be no namespace's name"),
    ],
)
def test_a_target_is_named_in_one_way_and_asked_of_a_server(args: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["gate", *args])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


@pytest.mark.parametrize("option", ["--server-ca", "--server-token-file"])
def test_a_file_of_the_server_that_cannot_be_read_is_named(option: str, tmp_path: Path) -> None:
    missing = tmp_path / "none"
    done = CliRunner().invoke(
        app, ["gate", "--target", "a/b", "--server-url", "https://127.0.0.1:1", option, str(missing)]
    )
    assert done.exit_code == 5
    assert f"{missing} cannot be read: No such file or directory" in " ".join(done.output.split())


def test_without_a_kubeconfig_it_says_what_a_target_can_be_asked_by() -> None:
    done = CliRunner().invoke(app, ["gate", "--target", "a/b", "--kubeconfig", "/nonexistent"])
    assert done.exit_code == 2
    assert "--server-url and a read token need no kubeconfig" in " ".join(done.output.split())
