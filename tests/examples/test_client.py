"""The example of the client library: its loop is run, the others where their framework is installed."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.examples.readme import EXAMPLES, shown_commands

FOLDER = EXAMPLES / "21-client"


def run(command: list[str], folder: Path, **variables: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path} | variables
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_the_commands_of_the_readme_write_the_spans_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    for command in shown_commands(FOLDER / "README.md"):
        variable, *words = shlex.split(command.line)
        assert run(words, tmp_path, **dict([variable.split("=")])) == command.output
    lines = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    assert Counter((line["kind"], line["name"]) for line in lines) == {
        ("span", "make points"): 1,
        ("span", "epoch"): 20,
        ("span", "evaluate"): 2,
        ("unit", "points"): 1,
    }
    assert [line["count"] for line in lines if line["kind"] == "unit"] == [20 * 2_000]
    with (tmp_path / "whole.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 25
    assert {row["run"] for row in rows} == {"line-fit"}
    assert rows[-1]["name"] == "whole"


@pytest.mark.parametrize("name", ["pytorch_loop.py", "scikit_learn.py", "keras_fit.py"])
def test_an_example_for_a_framework_is_python_and_runs_where_the_framework_is(name: str, tmp_path: Path) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    imported = {
        alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {str(node.module) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert "carbonbudget" in imported
    missing = [module for module in imported if not importlib.util.find_spec(module.partition(".")[0])]
    if missing or name == "pytorch_loop.py":
        pytest.skip(f"not run: {', '.join(sorted(missing)) or 'PyTorch is too large'}")
    log = tmp_path / "spans.jsonl"
    assert run([sys.executable, str(FOLDER / name)], tmp_path, CARBONBUDGET_LOG=str(log))
    assert log.read_text()
