"""The worked audit: what the page computes by hand is what the commands say, to the digit."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
FOLDER = ROOT / "examples" / "14-audit"


def run(*args: str) -> str:
    done = CliRunner().invoke(app, list(args))
    assert done.exit_code == 0, done.output
    return done.output


def test_the_jobs_figures_are_those_of_the_page(tmp_path: Path) -> None:
    ledger = ("--ledger", f"sqlite:///{tmp_path}/audit.db")
    config = ("--config", str(FOLDER / "settings.yaml"))
    assert "2 stored" in run("ledger", "import", str(FOLDER / "reports.jsonl"), "--any-age", *ledger, *config)
    assert "conserves to the microjoule" in run("ledger", "check", *ledger)
    by = ("--group-by", "namespace,workload", "-o", "json")
    found = json.loads(run("allocate", "--from", "2025-11-10", "--to", "2025-11-11", *by, *ledger, *config))
    (job,) = [row for row in found["rows"] if row["key"]["workload"] == "Job/train"]
    bold = [int(number.replace(",", "")) for number in re.findall(r"\*\*([\d,]+) u[Jg]\*\*", PAGE)]
    assert bold == [job["energy_uj"], job["location_ug"], job["market_ug"], job["embodied_ug"]]
    assert f"= {found['total']['location_ug']:,} ug" in PAGE
    report = json.loads(run("report", "--period", "2025-11-10", "-o", "json", *ledger, *config))
    told = " ".join(PAGE[PAGE.index("## In the report") :].split())
    rows = {row["name"]: row["ug"] for row in report["inventory"]}
    for name in ("Location-based, life-cycle factors; direct share not known", "Scope 2, market-based"):
        assert f"`{name}`" in told
        assert f"{rows[name]:,} ug" in told
    assert f"{rows['Scope 3, category 2 (capital goods): embodied hardware']:,} ug" in told


def test_every_command_of_the_page_runs_as_it_is_written(tmp_path: Path) -> None:
    """In the page's order, in a checkout of one's own: the hash that is closed is the one that all others print."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE)
    script = "".join(block for block in blocks if "carbonbudget " in block).replace("export PATH", ": ")
    assert len(re.findall(r"carbonbudget ", script)) == 9
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["/bin/bash", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    hashes = re.findall(r"\b[0-9a-f]{64}\b", (tmp_path / "closed.json").read_text() and done.stdout)
    digest = hashlib.sha256((tmp_path / "closed.json").read_bytes()).hexdigest()
    assert hashes.count(digest) == 6  # close, list, export, verify, show, sha256sum
    said = re.search(r"^    (17,400,000,001 uJ x .*), series sha256", PAGE, re.MULTILINE)
    assert said is not None
    assert said[1] in done.stdout
    with (tmp_path / "hours.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    grams = int(row["it_energy_uj"]) * Fraction(row["pue"]) * Fraction(row["g_per_kwh"]) * 10**6 / (36 * 10**11)
    assert round(grams) == int(row["location_ug"]) == 1_911_970


def test_the_pages_own_arithmetic_holds() -> None:
    total = 17_400_000_001
    rows = re.findall(r"^\| (?:`\w+`|nobody), [a-z]+ \| ([\d,]+) \| ([\d,.]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    energies, exact, rounded = (
        [Fraction(row[column].replace(",", "")) for row in rows] for column in range(3)
    )  # fmt: skip
    assert len(rows) == 7
    assert sum(energies) == total
    grams = total * 1200 * 329_650 / Fraction(3_600_000_000_000)
    assert sum(rounded) == round(grams)
    for energy, before, after in zip(energies, exact, rounded, strict=True):
        assert abs(energy / total * round(grams) - before) < Fraction(1, 1000)
        assert abs(before - after) < 1
