"""Few benchmarks run in CI, so what one takes from the tests and from us may go from under it."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


PARTS = {"__init__.py", "figures.py", "month_serving.py", "people_process.py"}  # of benchmarks


@pytest.mark.parametrize("name", sorted({path.name for path in BENCHMARKS.glob("*.py")} - PARTS))
def test_a_benchmark_finds_what_it_imports_and_says_how_it_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])  # as where it is started by its path
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["allocation_cost.py", "query_cost.py", "webhook_cost.py"])
def test_a_short_benchmark_runs_to_its_figures(name: str, tmp_path: Path) -> None:
    found = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, "--quick", "--json", found],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(found.read_text())
