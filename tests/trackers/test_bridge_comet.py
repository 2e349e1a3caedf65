"""The bridge and Comet: a server with the parts of Comet's REST API that the bridge uses, also read by its library."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.trackers.carbon_side import CarbonSide
from tests.trackers.conftest import QUIET
from tests.trackers.json_side import JsonSide

from carbonbudget.bridge.bridge_command import main

OURS = {"carbonbudget.namespace": "team-a", "carbonbudget.run": "exp-42"}
API = "/api/rest/v2/"


class Comet:
    """Experiments by key; `refused` are those that cannot be written."""

    def __init__(self) -> None:
        self.experiments: dict[str, dict[str, Any]] = {}
        self.points: list[tuple[str, str, float, int]] = []
        self.refused: set[str] = set()
        self._side = JsonSide(self._answer)
        self.url, self.close = self._side.url, self._side.close

    def experiment(self, key: str, others: dict[str, str], running: bool = False, **metrics: float) -> None:
        self.experiments[key] = {"others": dict(others), "metrics": dict(metrics), "running": running}

    def _answer(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        path = path.removeprefix(API)
        if path == "experiments":
            return 200, {"experiments": [self._metadata(key) for key in self.experiments]}
        if path in ("experiment/log-other", "experiment/metrics/summary"):
            its = self.experiments[query["experimentKey"]]
            found = its["others" if path.endswith("log-other") else "metrics"]
            return 200, {"values": [{"name": name, "valueCurrent": str(value)} for name, value in found.items()]}
        if path == "experiment/metadata":
            return 200, self._metadata(query["experimentKey"])
        if path.startswith("write/"):
            if body["experimentKey"] in self.refused:
                return 400, {"code": 400, "msg": "no such experiment"}
            its = self.experiments[body["experimentKey"]]
            if path.endswith("log-other"):
                its["others"][body["key"]] = body["value"]
            else:
                its["metrics"][body["metricName"]] = body["metricValue"]
                self.points.append((body["experimentKey"], body["metricName"], body["metricValue"], body["step"]))
            return 200, {"msg": "success"}
        return 200, {}

    def _metadata(self, key: str) -> dict[str, Any]:
        now_ms = int(time.time() * 1000)
        return {
            "experimentKey": key, "experimentName": key, "running": self.experiments[key]["running"], "archived": False,
            "endTimeMillis": now_ms, "startTimeMillis": now_ms - 1000, "projectName": "p", "workspaceName": "w",
            "projectId": "1",
        }  # fmt: skip


@pytest.fixture
def comet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Comet]:
    side = Comet()
    monkeypatch.setenv("COMET_URL_OVERRIDE", f"{side.url}/clientlib/")
    monkeypatch.setenv("COMET_API_KEY", "key")
    yield side
    side.close()


@pytest.fixture
def said(carbon: CarbonSide, token_file: Path, capsys: pytest.CaptureFixture[str]):
    def once() -> tuple[int, str, list[str]]:
        code = main(["comet", "--project", "w/p", "--server-url", carbon.url, "--token-file", str(token_file)])
        written = capsys.readouterr()
        return code, written.out.strip(), written.err.splitlines()

    return once


def test_an_experiment_gets_provisional_figures_once_and_final_ones_once(comet, carbon, said) -> None:
    comet.experiment("a", OURS)
    comet.experiment("other", {})
    comet.experiment("running", OURS, running=True)
    carbon.run("team-a", "exp-42", "provisional", location_ug="4000000")
    assert said() == (0, "Comet: 1 provisional, 0 final, 0 unchanged, 0 failed", [])
    assert said() == (0, "Comet: 0 provisional, 0 final, 1 unchanged, 0 failed", [])
    carbon.run("team-a", "exp-42", "final")
    assert said() == (0, "Comet: 0 provisional, 1 final, 0 unchanged, 0 failed", [])
    assert said() == (0, "Comet: 0 provisional, 0 final, 1 unchanged, 0 failed", [])
    assert [point for point in comet.points if point[1] == "carbon/co2e_g"] == [
        ("a", "carbon/co2e_g", 4.0, 0), ("a", "carbon/co2e_g", 4.2, 1),
    ]  # fmt: skip
    assert comet.experiments["a"]["others"]["carbonbudget.state"] == "final"


def test_a_deleted_experiment_and_a_taken_name_cost_a_line_each(comet, carbon, said) -> None:
    comet.experiment("gone", OURS)
    comet.experiment("taken", OURS, **{"carbon/energy_kwh": 1.0})
    comet.experiment("a", OURS)
    comet.refused.add("gone")
    carbon.run("team-a", "exp-42", "final")
    code, total, lines = said()
    assert (code, total) == (1, "Comet: 0 provisional, 1 final, 0 unchanged, 2 failed")
    assert lines == [
        "carbonbudget-bridge: Comet run gone (gone): Comet answers 400: no such experiment",
        "carbonbudget-bridge: Comet run taken (taken): the name carbon/energy_kwh is taken by something else; it stays"
        " as it is",
    ]


def test_comets_own_library_reads_what_the_bridge_wrote(comet, carbon, said, trackers_python, tmp_path) -> None:
    comet.experiment("a" * 32, OURS)
    carbon.run("team-a", "exp-42", "final")
    assert said()[0] == 0
    code = (
        "import comet_ml, json\n"
        "api = comet_ml.API(api_key='key', cache=False)\n"
        "its = api._client.get_experiment_others_summaries('a' * 32)\n"
        "print(json.dumps({each['name']: each['valueCurrent'] for each in its['values']}))"
    )
    theirs = {"COMET_URL_OVERRIDE": f"{comet.url}/clientlib/", "COMET_DISABLE_AUTO_LOGGING": "1", "HOME": str(tmp_path)}
    done = subprocess.run(
        [trackers_python, "-c", code], env={**QUIET, **theirs}, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert json.loads(done.stdout.splitlines()[-1])["carbonbudget.state"] == "final"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["comet", "--project", "w"], "'w' is no OWNER/PROJECT"),
        (["mlflow", "--tracking-uri", "file:///runs"], "begins with http:// or https://"),
        (["mlflow", "--tracking-uri", "http://me:secret@mlflow"], "has a password in it"),
        (["mlflow", "--tracking-uri", "http://mlflow", "--interval", "1"], "between 10 and 86400 seconds"),
        (["mlflow", "--tracking-uri", "http://mlflow", "--ca-file", "/nowhere"], "No such file"),
        (["mlflow", "--tracking-uri", "http://mlflow", "--server-url", "http://server"], "sent in the clear"),
        (["mlflow"], "set MLFLOW_TRACKING_URI"),
        ([], "required"),
    ],
)
def test_wrong_use_is_exit_code_2_and_one_sentence(arguments, reason, capsys, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SystemExit) as left:
        main(arguments)
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert reason in error
    assert "secret" not in error


def test_with_an_interval_it_goes_on_after_a_round_that_failed(comet, carbon, token_file, capsys, monkeypatch) -> None:
    comet.experiment("a", OURS)
    carbon.run("team-a", "exp-42", "final")
    carbon.status = 503
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        carbon.status = 200
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    ours = ["--server-url", carbon.url, "--token-file", str(token_file), "--interval", "60"]
    assert main(["comet", "--project", "w/p", *ours]) == 130
    assert slept == [60, 60]
    assert capsys.readouterr().out.splitlines() == [
        "Comet: 0 provisional, 0 final, 0 unchanged, 0 failed", "Comet: 0 provisional, 1 final, 0 unchanged, 0 failed",
    ]  # fmt: skip


def test_a_redirect_is_not_followed_with_the_key(comet, carbon, said, monkeypatch) -> None:
    asked = []

    def elsewhere(path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        asked.append(path)
        return 200, {}

    thief = JsonSide(elsewhere)
    side = JsonSide(lambda path, query, body: (302, {"location": thief.url}))
    try:
        monkeypatch.setenv("COMET_URL_OVERRIDE", side.url)
        assert said()[0] == 1
        assert asked == []
    finally:
        side.close()
        thief.close()
