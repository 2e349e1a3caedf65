"""The example of a run: its labels count, nothing about them is warned of, and its commands print what is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.admission.given import NOW, Bench, a_review
from tests.conftest import ROOT
from tests.examples.readme import shown_commands

from carbonbudget_operator.admission.review_parser import parse_review
from carbonbudget_operator.run_labels import MODEL, as_label

FOLDER = ROOT / "examples" / "20-runs"


def manifest(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")))


def template(name: str) -> dict[str, Any]:
    return dict(manifest(name)["spec"]["template"]["metadata"])


def test_the_commands_print_what_the_readme_shows(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    for command in shown_commands(FOLDER / "README.md"):
        if command.line.startswith("kubectl"):  # that these commands and options exist is tested for all examples
            continue
        done = subprocess.run(
            ["/bin/bash", "-euc", command.line], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [line.rstrip() for line in done.stdout.strip().splitlines()] == command.output.splitlines()


@pytest.mark.parametrize(("kind", "file"), [("Job", "training.yaml"), ("Deployment", "inference.yaml")])
def test_nothing_about_the_labels_is_warned_of(kind: str, file: str) -> None:
    handler, review = Bench().handler, parse_review(a_review(kind, manifest(file)))
    assert handler.with_label_warnings(review, handler.decide(review, NOW)).warnings == ()


def test_the_reports_are_of_pods_with_the_labels_of_the_manifests() -> None:
    reports = [json.loads(line) for line in (FOLDER / "reports.jsonl").read_text(encoding="utf-8").splitlines()]
    for file, workload in (("training.yaml", "train-chat"), ("inference.yaml", "chat-6f7")):
        labels = [
            pod["labels"] for report in reports for pod in report["pods"] if pod["name"].startswith(workload)
        ]  # fmt: skip
        assert labels
        assert all(its == template(file)["labels"] for its in labels)


def test_the_annotation_has_the_whole_name_that_the_label_stands_for() -> None:
    metadata = template("training.yaml")
    assert as_label(metadata["annotations"][MODEL]) == metadata["labels"][MODEL]
