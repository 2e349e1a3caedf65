"""The example of a month's report: its commands make the page and the file that its README describes."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from tests.conftest import ROOT
from tests.examples.readme import shown_commands

FOLDER = ROOT / "examples" / "18-month-report"


def test_the_commands_make_the_page_and_the_focus_file(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def run(line: str) -> str:
        done = subprocess.run(
            ["/bin/bash", "-euc", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for command in shown_commands(FOLDER / "README.md"):
        assert run(command.line).strip() == command.output
    page = (tmp_path / "2025-11.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "Change since the period before" in page
    ours = "--ledger sqlite:///month.db --config examples/18-month-report/settings.yaml"
    report = json.loads(run(f"carbonbudget report --period 2025-11 -o json {ours}"))
    (stated,) = re.findall(r"([\d.]+) % of the pods' energy belongs to nobody", (FOLDER / "README.md").read_text())
    assert report["labels"]["unlabelled_energy_percent"] == stated
    assert f"{stated} % <small>of pods' energy</small>" in page
    with (tmp_path / "2025-11-focus.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    total = json.loads(run(f"carbonbudget allocate --from 2025-11-01 --to 2025-12-01 -o json {ours}"))["total"]
    assert sum(Decimal(row["x_CarbonLocationBasedGrams"]) for row in rows) * 10**6 == total["location_ug"]
    assert {row["SubAccountId"] for row in rows} >= {"team-a", "team-b", "sandbox"}
    assert report["total"]["location_ug"] == total["location_ug"]
