"""The environment of trackers, MLflow's own server, and our server's side of the contract."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ENDS_WITH_US, ROOT
from tests.prometheus import free_port, until
from tests.trackers.carbon_side import CarbonSide

from carbonbudget import client_notices, init, span_starts

QUIET = {
    "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "COMET_AUTO_LOG_CO2": "false", "GIT_PYTHON_REFRESH": "quiet", "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu",
}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A training script of this folder in a process of its own, as in a pod with our token."""

    python: Path
    folder: Path
    environment: Mapping[str, str]

    def __call__(self, script: str, *args: str, seconds: float = 120, **environment: str) -> dict[str, Any]:
        """Run it; the JSON of its last line. Its exit code must be 0."""
        done = subprocess.run(
            [*ENDS_WITH_US, str(self.python), str(ROOT / "tests/trackers/trainings" / script), *args],
            env={**self.environment, **environment}, cwd=self.folder, capture_output=True, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


@pytest.fixture(scope="session")
def trackers_python() -> Path:
    """Python with the trackers; made where it is missing, which needs a package registry."""
    made = subprocess.run([ROOT / "hack/trackers-venv"], capture_output=True, text=True, check=False)
    if made.returncode:
        reason = f"hack/trackers-venv: {made.stderr.strip().splitlines()[-1:]}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return ROOT / ".venv-trackers/bin/python"


@pytest.fixture
def carbon() -> Iterator[CarbonSide]:
    side = CarbonSide()
    yield side
    side.close()


def pod_token(**kubernetes: Any) -> str:
    """A projected token as the kubelet writes it, of the pod train-0 in team-a; nobody here verifies it."""
    told = {"namespace": "team-a", "pod": {"name": "train-0", "uid": "1111-2222"}, **kubernetes}
    body = base64.urlsafe_b64encode(json.dumps({"kubernetes.io": told}).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


@pytest.fixture
def nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process records no span, has shown no notice, and nobody listens for the start of a span."""
    monkeypatch.setattr(client_notices, "_shown", set())
    monkeypatch.setattr(span_starts, "START_LISTENERS", [])
    for name in ("SERVER_URL", "LOG", "RUN", "NAMESPACE"):
        monkeypatch.delenv(f"CARBONBUDGET_{name}", raising=False)
    monkeypatch.setenv("CARBONBUDGET_TOKEN_FILE", "/nowhere")
    monkeypatch.setenv("CARBONBUDGET_DISABLED", "1")
    init()  # the session of this process records nothing, whatever a test sets
    monkeypatch.delenv("CARBONBUDGET_DISABLED")


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(pod_token())
    return path


@pytest.fixture
def training(trackers_python: Path, carbon: CarbonSide, token_file: Path, tmp_path: Path) -> Training:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ours = {
        "CARBONBUDGET_SERVER_URL": carbon.url, "CARBONBUDGET_TOKEN_FILE": str(token_file), "CARBONBUDGET_RUN": "exp-42",
    }  # fmt: skip
    return Training(trackers_python, tmp_path, {**kept, **QUIET, **ours})


class Mlflow:
    """A running MLflow server, asked by its REST API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/2.0/mlflow/{path}", timeout=30) as answer:
            return dict(json.load(answer))

    def finished(self, experiment: str, name: str, metrics: Mapping[str, float] = {}, **tags: str) -> str:
        """A new run that has ended; `tags` without their prefix `carbonbudget.`."""
        given = [{"key": key if "." in key else f"carbonbudget.{key}", "value": value} for key, value in tags.items()]
        now_ms = int(time.time() * 1000)
        made = self.post(
            "runs/create", experiment_id=experiment, run_name=name, start_time=now_ms - 60_000,
            tags=given,
        )  # fmt: skip
        run = str(made["run"]["info"]["run_id"])
        for key, value in metrics.items():
            self.post("runs/log-metric", run_id=run, key=key, value=value, timestamp=now_ms, step=0)
        self.post("runs/update", run_id=run, status="FINISHED", end_time=now_ms)
        return run

    def run(self, run: str) -> tuple[dict[str, float], dict[str, str]]:
        """Its newest metrics and its tags."""
        data = self.get(f"runs/get?run_id={run}")["run"]["data"]
        metrics = {each["key"]: each["value"] for each in data.get("metrics", ())}
        return metrics, {each["key"]: each["value"] for each in data.get("tags", ())}

    def history(self, run: str, metric: str) -> list[tuple[int, float]]:
        """Step and value of all its points."""
        points = self.get(f"metrics/get-history?run_id={run}&metric_key={metric}").get("metrics", ())
        return [(int(point.get("step", 0)), point["value"]) for point in points]


@pytest.fixture(scope="session")
def mlflow(trackers_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [
            *ENDS_WITH_US, str(trackers_python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination", str(folder / "artifacts"),
        ],
        env={**os.environ, **QUIET, "PATH": f"{trackers_python.parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    running = Mlflow(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()[-3000:]
        try:
            return bool(running.post("experiments/search", max_results=1))
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        until("MLflow's server", answers, 120)
        yield running
    finally:
        os.killpg(server.pid, 15)  # with its workers
        server.wait(20)
        log.close()


@pytest.fixture
def experiment(mlflow: Mlflow) -> tuple[str, str]:
    """Name and id of an experiment of this test alone."""
    name = f"exp-{time.time_ns()}"
    return name, str(mlflow.post("experiments/create", name=name)["experiment_id"])
