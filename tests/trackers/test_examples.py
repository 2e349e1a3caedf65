"""The examples of the client library for frameworks that the operator's own environment does not have."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.conftest import ENDS_WITH_US, ROOT
from tests.trackers.conftest import QUIET


@pytest.mark.parametrize(
    ("name", "spans"),
    [("scikit_learn.py", {"data": 1, "fold": 5, "samples": 1}), ("keras_fit.py", {"fit": 1, "epoch": 3})],
)
def test_an_example_trains_and_records_its_spans(
    trackers_python: Path, tmp_path: Path, name: str, spans: dict[str, int]
) -> None:
    log = tmp_path / "spans.jsonl"
    ours = {"CARBONBUDGET_LOG": str(log), "CARBONBUDGET_DISABLED": "", "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [*ENDS_WITH_US, trackers_python, ROOT / "examples/21-client" / name], env={**os.environ, **QUIET, **ours},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = Counter(json.loads(line)["name"] for line in log.read_text().splitlines())
    assert found == spans
