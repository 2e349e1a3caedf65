"""Real trainings with the figures of their spans in MLflow, W&B and Comet while they run, and in Keras' History."""

from __future__ import annotations

import json
import threading
import time
import zipfile
from typing import Any

import pytest
from tests.trackers.json_side import JsonSide

from carbonbudget.bridge.bridge_command import main

FIT = {
    "carbon/fit/energy_kwh": 2 / 3.6, "carbon/fit/co2e_g": 200.0, "carbon/fit/co2e_market_g": 100.0,
    "carbon/fit/measured_percent": 100.0,
}  # fmt: skip


def test_scikit_learn_under_autolog_has_tags_and_figures_without_code_and_the_bridge_completes_them(
    training, mlflow, carbon, experiment, token_file, capsys
) -> None:
    done = training("sklearn_autolog.py", experiment[0], MLFLOW_TRACKING_URI=mlflow.url)
    metrics, tags = mlflow.run(done["run"])
    assert {name: tag for name, tag in tags.items() if name.startswith("carbonbudget.")} == {
        "carbonbudget.namespace": "team-a", "carbonbudget.pod": "train-0", "carbonbudget.pod_uid": "1111-2222",
        "carbonbudget.run": "exp-42",
    }  # fmt: skip
    assert {name: value for name, value in metrics.items() if name.startswith("carbon/")} == pytest.approx(FIT)
    assert "training_score" in metrics  # autolog's own are there as ever
    assert sorted(mlflow.history(done["run"], "carbon/fit/co2e_g")) == [(0, 100.0), (1, 200.0)]
    carbon.run("team-a", "exp-42", "final")
    options = ["--server-url", carbon.url, "--token-file", str(token_file)]
    assert main(["mlflow", "--tracking-uri", mlflow.url, "--experiment", experiment[0], *options]) == 0
    metrics, tags = mlflow.run(done["run"])
    assert (metrics["carbon/co2e_g"], tags["carbonbudget.state"]) == (4.2, "final")
    assert metrics["carbon/fit/co2e_g"] == 200.0  # its own figures stay


def test_keras_on_jax_has_the_figures_of_each_epoch_in_history_and_in_the_active_run(
    training, mlflow, carbon, experiment
) -> None:
    carbon.state = "final"
    done = training("keras_jax.py", experiment[0], MLFLOW_TRACKING_URI=mlflow.url, KERAS_BACKEND="jax", seconds=300)
    assert done["backend"] == "jax"
    assert done["lengths"] == {"loss": 3, "carbon/energy_kwh": 3, "carbon/co2e_g": 3}
    assert done["unknown"] == 3  # at the end of fit nothing was waited for
    assert done["history"]["carbon/co2e_g"] == [100.0, 200.0, 300.0]
    assert done["history"]["carbon/energy_kwh"] == pytest.approx([1 / 3.6, 2 / 3.6, 3 / 3.6])
    assert done["logs"]["carbon/co2e_g"] == 100.0
    assert set(carbon.progress) & {(1, 3, "epoch"), (2, 3, "epoch"), (3, 3, "epoch")}  # the newest at each turn
    assert mlflow.run(done["run"])[0]["carbon/predicted/co2e_g"] == 600.0
    points = sorted(mlflow.history(done["run"], "carbon/epoch/co2e_g"))
    assert points[1:] in ([(1, 200.0), (2, 300.0)], [(0, 100.0), (1, 200.0), (2, 300.0)])


def test_lightnings_mlflow_logger_has_the_figures_in_the_run_that_it_made(training, mlflow, experiment) -> None:
    """At the address of the logger, which is not that of the environment."""
    done = training("lightning_mlflow.py", experiment[0], mlflow.url, MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert not done["active"]
    metrics, tags = mlflow.run(done["run"])
    assert sorted(mlflow.history(done["run"], "carbon/epoch/co2e_g")) == [(0, 100.0), (1, 200.0)]
    assert tags["carbonbudget.pod"] == "train-0"
    assert "carbon/after/co2e_g" not in metrics


def test_wandb_offline_has_identity_axis_and_figures_in_its_file(training) -> None:
    done = training("wandb_offline.py", WANDB_MODE="offline")
    assert done["complete"]
    assert done["config"]["carbonbudget"] == {
        "namespace": "team-a", "pod": "train-0", "pod_uid": "1111-2222", "run": "exp-42",
    }  # fmt: skip
    assert done["waited"]
    for name, steps in (("epoch", [0, 1, 2, 3, 4]), ("evaluate", [10, 11])):
        assert [f"carbon/{name}/*", f"carbon/{name}/step"] in done["metrics"]
        rows = [row for row in done["history"] if f"carbon/{name}/co2e_g" in row]
        figures = [(row[f"carbon/{name}/step"], row[f"carbon/{name}/co2e_g"]) for row in rows]
        assert sorted(figures) == [(step, 100.0 * (step + 1)) for step in steps]
    # No row of the training is cut off or dropped by ours.
    own = [(row["_step"], row["loss"], row["accuracy"]) for row in done["history"] if "loss" in row]
    assert own == [(step, step, step) for step in range(done["steps"])]
    assert "before wandb.finish()" in done["stderr"]


def test_comet_offline_has_identity_and_figures_in_its_file(training) -> None:
    done = training("comet_offline.py")
    with zipfile.ZipFile(done["file"]) as archive, archive.open("messages.json") as lines:
        messages = [json.loads(line)["payload"] for line in lines]
    others = {each["key"]: each["value"] for each in messages if str(each.get("key")).startswith("carbonbudget.")}
    assert others == {
        "carbonbudget.namespace": "team-a", "carbonbudget.pod": "train-0", "carbonbudget.pod_uid": "1111-2222",
        "carbonbudget.run": "exp-42",
    }  # fmt: skip
    metrics = [each["metric"] for each in messages if "metric" in each]
    grams = [(each["step"], each["metricValue"]) for each in metrics if each["metricName"] == "carbon/epoch/co2e_g"]
    assert grams == [(0, 100.0), (1, 200.0)]
    own = [(each["metricName"], each["step"], each["epoch"]) for each in metrics if "loss" in each["metricName"]]
    assert own == [("loss", 100, 9)]  # with the step and the epoch that the training has set


def test_the_trainers_own_callback_handler_makes_a_span_of_each_epoch(training) -> None:
    done = training("transformers_callbacks.py")
    assert done["spans"] == [["epoch", 0, True], ["epoch", 1, True]]
    assert (done["open"], done["torch"], done["is_hook"]) == (0, False, True)


def test_a_training_ends_as_ever_while_mlflow_hangs(training) -> None:
    asked, going_on = threading.Event(), threading.Event()
    info = {"run_id": "r", "run_uuid": "r", "experiment_id": "1", "status": "RUNNING", "lifecycle_stage": "active"}
    run = {"info": {**info, "start_time": 1, "artifact_uri": "/nowhere"}, "data": {}}

    def answer(path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path.endswith("log-batch"):
            asked.set()
            going_on.wait(60)
        experiment = {"experiment_id": "1", "name": "e", "lifecycle_stage": "active", "artifact_location": "/nowhere"}
        return 200, {"experiment": experiment, "run": run, "run_info": run["info"]}

    side = JsonSide(answer)
    try:
        done = training("mlflow_hangs.py", MLFLOW_TRACKING_URI=side.url)
        assert time.time() - done["ended"] < 20  # 2 s and the end of Python, on a machine that is busy
    finally:
        going_on.set()
        side.close()
    assert asked.is_set()  # a figure hung there
    assert done["seconds"] < 5
    assert done["known"] == [True, True, True]  # the client's own thread was not held up
