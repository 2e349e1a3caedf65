"""The bridge and W&B: W&B's own library against a server that answers its GraphQL for runs and their summaries."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.trackers.carbon_side import CarbonSide
from tests.trackers.conftest import QUIET
from tests.trackers.json_side import JsonSide

OURS = {"carbonbudget": {"value": {"namespace": "team-a", "run": "exp-42"}}}


class Wandb:
    """Runs by name, with config and summary; `refused` are those whose summary cannot be written."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.refused: set[str] = set()
        self.asked: list[dict[str, Any]] = []
        self._side = JsonSide(self._answer)
        self.url, self.close = self._side.url, self._side.close

    def run(self, name: str, config: dict[str, Any], summary: dict[str, Any]) -> None:
        self.runs[name] = {"config": config, "summary": summary}

    def _answer(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        text, given = (body or {}).get("query", ""), (body or {}).get("variables") or {}
        if "upsertBucket" in text:
            if given["id"] in self.refused:
                return 200, {"data": None, "errors": [{"message": "run not found"}]}
            self.runs[given["id"]]["summary"] = json.loads(given["summaryMetrics"])
            return 200, {"data": {"upsertBucket": {"bucket": {"id": given["id"]}}}}
        if "runs(filters" in text:
            self.asked.append(json.loads(given["filters"]))
            edges = [{"node": self._node(name), "cursor": name} for name in self.runs]
            page = {"endCursor": None, "hasNextPage": False}
            project = {"internalId": "1", "runCount": len(edges), "readOnly": False}
            return 200, {"data": {"project": {**project, "runs": {"edges": edges, "pageInfo": page}}}}
        return 200, {"data": {"viewer": {"id": "1", "entity": "e", "flags": "{}", "teams": {"edges": []}}}}

    def _node(self, name: str) -> dict[str, Any]:
        its = self.runs[name]
        return {
            "projectId": "1", "id": name, "name": name, "displayName": name, "tags": [], "state": "finished",
            "config": json.dumps(its["config"]), "summaryMetrics": json.dumps(its["summary"]), "systemMetrics": "{}",
            "createdAt": "2026-11-28T00:00:00Z", "heartbeatAt": "2026-11-28T01:00:00Z", "historyLineCount": 1,
            "readOnly": False, "user": {"name": "u", "username": "u"}, "historyKeys": None, "sweepName": None,
            "group": None, "jobType": None, "commit": None, "description": None, "notes": None,
        }  # fmt: skip


@pytest.fixture
def wandb() -> Iterator[Wandb]:
    side = Wandb()
    yield side
    side.close()


@pytest.fixture
def bridge(wandb: Wandb, carbon: CarbonSide, trackers_python: Path, token_file: Path, tmp_path: Path):
    def once(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [trackers_python.parent / "carbonbudget-bridge", "wandb", "--project", "e/p", "--once"]
        ours = ["--server-url", carbon.url, "--token-file", token_file]
        theirs = {"WANDB_BASE_URL": wandb.url, "WANDB_API_KEY": "0" * 40, "HOME": str(tmp_path)}
        return subprocess.run(
            [*command, *ours], env={**os.environ, **QUIET, **theirs, **environment}, capture_output=True, text=True,
            timeout=120, check=False, cwd=tmp_path,
        )  # fmt: skip

    return once


def test_a_finished_run_gets_its_figures_into_the_summary_once_and_the_rest_of_it_stays(wandb, carbon, bridge) -> None:
    wandb.run("a", OURS, {"loss": 0.5})
    wandb.run("taken", OURS, {"carbon/co2e_g": 99})
    wandb.run("gone", OURS, {})
    wandb.run("other", {"lr": {"value": 1}}, {})
    wandb.refused.add("gone")
    carbon.run("team-a", "exp-42", "final")
    done = bridge()
    assert done.stdout == "W&B: 0 provisional, 1 final, 0 unchanged, 2 failed\n"
    assert done.returncode == 1
    lines = sorted(done.stderr.splitlines())
    assert [line.split(": ")[1] for line in lines] == ["W&B run gone (e/p/gone)", "W&B run taken (e/p/taken)"]
    assert wandb.runs["a"]["summary"] == {
        "loss": 0.5, "carbon/energy_kwh": 10.0, "carbon/co2e_g": 4.2, "carbon/co2e_market_g": 2.1,
        "carbon/embodied_g": 0.7, "carbon/measured_percent": 83.0, "carbonbudget.state": "final",
        "carbonbudget.shared_by": 3, "carbonbudget.bridge": 1,
    }  # fmt: skip
    assert wandb.asked[0]["config.carbonbudget.value.namespace"] == {"$exists": True}
    for name in ("taken", "gone"):
        del wandb.runs[name]
    done = bridge()
    assert (done.returncode, done.stdout) == (0, "W&B: 0 provisional, 0 final, 1 unchanged, 0 failed\n")


def test_wandb_that_is_away_costs_one_line_and_the_exit_code_says_so(bridge) -> None:
    done = bridge(WANDB_BASE_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    ours = [line for line in done.stderr.splitlines() if line.startswith("carbonbudget-bridge: ")]
    assert len(ours) == 1
    assert "W&B does not list the runs of e/p: " in ours[0]
