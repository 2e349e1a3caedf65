"""The bridge and a real MLflow server: what finished runs get, once each, and what it says where they get nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.trackers.carbon_side import CarbonSide
from tests.trackers.conftest import Mlflow

from carbonbudget.bridge.bridge_command import main
from carbonbudget.bridge.bridge_round import Bridge
from carbonbudget.bridge.mlflow_runs import MlflowRuns
from carbonbudget.bridge.run_figures import CarbonServer

FIGURES = {
    "carbon/energy_kwh": 10.0, "carbon/co2e_g": 4.2, "carbon/co2e_market_g": 2.1, "carbon/embodied_g": 0.7,
    "carbon/measured_percent": 83.0,
}  # fmt: skip
OURS = {"namespace": "team-a", "run": "exp-42"}
Experiment = tuple[str, str]


@pytest.fixture
def options(mlflow: Mlflow, experiment: Experiment, carbon: CarbonSide, token_file: Path) -> list[str]:
    ours = ["--server-url", carbon.url, "--token-file", str(token_file)]
    return ["mlflow", "--tracking-uri", mlflow.url, "--experiment", experiment[0], *ours]


@pytest.fixture
def said(options: list[str], capsys: pytest.CaptureFixture[str]):
    """One round: its exit code, the sum, and the lines about what went wrong."""

    def once(*more: str) -> tuple[int, str, list[str]]:
        code = main([*options, *more])
        written = capsys.readouterr()
        return code, written.out.strip(), written.err.splitlines()

    return once


def test_a_run_gets_provisional_figures_once_and_final_ones_once(mlflow, experiment, carbon, said) -> None:
    run = mlflow.finished(experiment[1], "t", **OURS)
    carbon.run("team-a", "exp-42", "provisional", location_ug="4000000")
    assert said() == (0, "MLflow: 1 provisional, 0 final, 0 unchanged, 0 failed", [])
    assert said() == (0, "MLflow: 0 provisional, 0 final, 1 unchanged, 0 failed", [])
    metrics, tags = mlflow.run(run)
    assert metrics == {**FIGURES, "carbon/co2e_g": 4.0}
    assert tags["carbonbudget.state"] == "provisional"
    carbon.run("team-a", "exp-42", "final")
    assert said()[1] == "MLflow: 0 provisional, 1 final, 0 unchanged, 0 failed"
    carbon.asked.clear()
    assert said()[1] == "MLflow: 0 provisional, 0 final, 1 unchanged, 0 failed"
    assert carbon.asked == []  # a final run is asked for no more
    metrics, tags = mlflow.run(run)
    assert metrics == FIGURES
    assert tags["carbonbudget.state"] == "final"
    assert sorted(mlflow.history(run, "carbon/co2e_g")) == [(0, 4.0), (1, 4.2)]


def test_the_figures_leave_the_runs_end_as_it_was(mlflow, experiment, carbon, said) -> None:
    run = mlflow.finished(experiment[1], "t", **OURS)
    before = mlflow.get(f"runs/get?run_id={run}")["run"]["info"]
    carbon.run("team-a", "exp-42", "final")
    said()
    assert mlflow.get(f"runs/get?run_id={run}")["run"]["info"] == before


def test_a_write_that_was_cut_off_is_made_again(mlflow, experiment, carbon, said) -> None:
    run = mlflow.finished(experiment[1], "t", {"carbon/energy_kwh": 10.0}, bridge="1", **OURS)
    carbon.run("team-a", "exp-42", "final")
    assert said()[0] == 0
    assert mlflow.run(run)[0] == FIGURES


def test_a_name_that_somebody_else_wrote_stays_and_other_runs_get_theirs(mlflow, experiment, carbon, said) -> None:
    theirs = mlflow.finished(experiment[1], "theirs", {"carbon/co2e_g": 99.0}, **OURS)
    ours = mlflow.finished(experiment[1], "ours", **OURS)
    carbon.run("team-a", "exp-42", "final")
    code, total, lines = said()
    assert (code, total) == (1, "MLflow: 0 provisional, 1 final, 0 unchanged, 1 failed")
    assert lines == [
        f"carbonbudget-bridge: MLflow run theirs ({theirs}): the name carbon/co2e_g is taken by something else; it"
        " stays as it is"
    ]
    assert mlflow.run(theirs)[0] == {"carbon/co2e_g": 99.0}
    assert mlflow.run(ours)[0] == FIGURES


def test_a_run_that_is_deleted_between_reading_and_writing_costs_one_line(
    mlflow, experiment, carbon, token_file
) -> None:
    kept, gone = (mlflow.finished(experiment[1], name, **OURS) for name in ("kept", "gone"))
    carbon.run("team-a", "exp-42", "final")

    class Deleting(MlflowRuns):
        def finished_runs(self, since_ms):
            runs = list(super().finished_runs(since_ms))
            mlflow.post("runs/delete", run_id=gone)
            return iter(runs)

    lines: list[str] = []
    tracker = Deleting(mlflow.url, {}, [experiment[0]])
    outcome = Bridge(tracker, CarbonServer(carbon.url, token_file), lines.append).round(0)
    assert (outcome.final, outcome.failed, outcome.done) == (1, 1, False)
    assert lines == [f"MLflow run gone ({gone}): it was deleted"]
    assert mlflow.run(kept)[0] == FIGURES


def test_runs_that_cannot_have_figures_are_named_and_the_same_line_is_said_once(mlflow, experiment, carbon, token_file):
    unlabelled = mlflow.finished(experiment[1], "unlabelled", namespace="team-a", pod_uid="1")
    unknown = mlflow.finished(experiment[1], "unknown", namespace="team-a", run="nowhere")
    early = mlflow.finished(experiment[1], "early", namespace="team-a", run="long")
    carbon.run("team-a", "long", "final", start="2026-10-25T00:00:00Z")
    lines: list[str] = []
    bridge = Bridge(MlflowRuns(mlflow.url, {}, [experiment[0]]), CarbonServer(carbon.url, token_file), lines.append)
    assert [bridge.round(0).failed, bridge.round(0).failed] == [3, 3]
    assert sorted(lines) == [
        f"MLflow run early ({early}): it began before 2026-10-25T00:00:00Z, where the server's answer begins: its"
        " figures would be short",
        f"MLflow run unknown ({unknown}): carbonbudget's server answers 404: no pod has this run",
        f"MLflow run unlabelled ({unlabelled}): its pod had no run: put the label carbonbudget.dev/run on the pod"
        " template",
    ]


def test_runs_without_our_tags_and_running_ones_are_left_alone(mlflow, experiment, carbon, said) -> None:
    mlflow.finished(experiment[1], "other")
    tags = [{"key": f"carbonbudget.{key}", "value": value} for key, value in OURS.items()]
    mlflow.post("runs/create", experiment_id=experiment[1], tags=tags)
    assert said() == (0, "MLflow: 0 provisional, 0 final, 0 unchanged, 0 failed", [])


def test_the_parent_of_nested_runs_gets_the_figures_and_runs_that_share_them_say_so(
    mlflow, experiment, carbon, said
) -> None:
    parent, sibling = (mlflow.finished(experiment[1], name, **OURS) for name in ("parent", "sibling"))
    child = mlflow.finished(experiment[1], "child", **OURS, **{"mlflow.parentRunId": parent})
    carbon.run("team-a", "exp-42", "final")
    assert said()[1] == "MLflow: 0 provisional, 2 final, 0 unchanged, 0 failed"
    assert mlflow.run(child)[0] == {}
    assert [mlflow.run(run)[1]["carbonbudget.shared_by"] for run in (parent, sibling)] == ["2", "2"]


def test_more_runs_than_one_page_are_all_read(mlflow, experiment, carbon, token_file, monkeypatch) -> None:
    monkeypatch.setattr("carbonbudget.bridge.mlflow_runs._PAGE", 2)
    for number in range(5):
        mlflow.finished(experiment[1], str(number), **OURS)
    assert len(list(MlflowRuns(mlflow.url, {}, [experiment[0]]).finished_runs(0))) == 5


@pytest.mark.parametrize(
    ("status", "line"),
    [(401, "carbonbudget's server answers 401: not now"), (503, "carbonbudget's server answers 503: not now")],
)
def test_our_server_that_cannot_answer_ends_the_round_with_one_line(
    mlflow, experiment, carbon, said, status, line
) -> None:
    for name in "ab":
        mlflow.finished(experiment[1], name, **{**OURS, "run": name})
    carbon.status = status
    assert said() == (1, "MLflow: 0 provisional, 0 final, 0 unchanged, 0 failed", [f"carbonbudget-bridge: {line}"])
    assert len(carbon.asked) == 1


def test_one_round_of_the_installed_command_says_by_its_exit_code_that_mlflow_is_away(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "carbonbudget-bridge"), "mlflow", "--once"]
    away = [*command, "--tracking-uri", "http://127.0.0.1:1", "--token-file", str(tmp_path / "token")]
    done = subprocess.run(away, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("carbonbudget-bridge: MLflow does not answer at http://127.0.0.1:1: ")
    assert len(done.stderr.splitlines()) == 1
