"""The example of a server that counts its own units."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ENDS_WITH_US, ROOT
from tests.examples.readme import EXAMPLES

from carbonbudget_operator.spans.span_bodies import UnitBody

FOLDER = EXAMPLES / "23-units"


def test_the_server_counts_its_answers_and_writes_them_when_its_pod_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "units.jsonl"
    with subprocess.Popen(
        [*ENDS_WITH_US, sys.executable, FOLDER / "serve.py", "0"], env={**os.environ, "CARBONBUDGET_LOG": str(log)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        assert server.stdout
        first = server.stdout.readline()
        assert re.fullmatch(r"listening on port \d+\n", first)
        url = f"http://127.0.0.1:{first.split()[-1]}"
        for _ in range(3):
            with urllib.request.urlopen(url, data=b"[1, 2]", timeout=10) as answer:
                assert json.load(answer) == [4, 7]
        server.terminate()
        assert server.wait(20) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["name"], line["count"]) for line in lines] == [("inferences", 6), ("requests", 3)]
    assert UnitBody.model_validate(lines[0]).count == 6


@pytest.fixture
def objects() -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all((FOLDER / "serving.yaml").read_text())}


def test_the_deployment_has_what_the_page_says_that_a_pod_needs_by_hand(objects: dict[str, Any]) -> None:
    page = (ROOT / "docs/tracking.md").read_text()
    (by_hand,) = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(containers:.*?)```", page, re.DOTALL)]
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["volumes"] == by_hand["volumes"]
    for field in ("env", "volumeMounts"):
        assert pod["containers"][0][field] == by_hand["containers"][0][field]


def test_the_target_divides_by_a_unit_that_the_server_counts_of_pods_that_the_deployment_has(
    objects: dict[str, Any],
) -> None:
    spec, pod = objects["CarbonTarget"]["spec"], objects["Deployment"]["spec"]["template"]
    assert f"cb.units({spec['unit']['source']['client']}=" in (FOLDER / "serve.py").read_text()
    assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
