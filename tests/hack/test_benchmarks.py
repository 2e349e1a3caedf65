"""Few benchmarks run in CI, so what one takes from the tests and from us may go from under it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


PARTS = {"__init__.py", "figures.py", "month_serving.py", "people_process.py"}  # of benchmarks


# Each as if it were started by its path, with nothing of the repository imported before. One process loads libraries.
HELP = """
import runpy, sys
path = list(sys.path)
for file in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("benchmarks", "tests")]:
        del sys.modules[name]
    sys.path[:] = [file.rpartition("/")[0], *path]
    sys.argv = [file, "--help"]
    print("\\n# begins", file, flush=True)
    try:
        runpy.run_path(file, run_name="__main__")
    except SystemExit as end:
        print("# ends with", end.code)
"""


def test_each_benchmark_finds_what_it_imports_and_says_how_it_is_called(tmp_path: Path) -> None:
    files = sorted(path for path in BENCHMARKS.glob("*.py") if path.name not in PARTS)
    done = subprocess.run(
        [sys.executable, "-P", "-c", HELP, *files],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, *said = done.stdout.split("\n# begins ")
    assert [one.partition("\n")[0] for one in said] == [str(file) for file in files]
    wrong = [one for one in said if "--json" not in one or not one.rstrip().endswith("# ends with 0")]
    assert wrong == []


@pytest.mark.parametrize("name", ["allocation_cost.py", "query_cost.py", "webhook_cost.py"])
def test_a_short_benchmark_runs_to_its_figures(name: str, tmp_path: Path) -> None:
    found = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, "--quick", "--json", found],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(found.read_text())
