"""The client's wheel: built from its folder, it can be installed beside the operator's and alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = str(Path(sys.executable).with_name("uv"))


def run(*command: str, **variables: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env=os.environ | variables
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    for source in ("client", "."):
        build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
        run(*build, "--wheel-dir", str(folder), str(ROOT / source), PIP_DISABLE_PIP_VERSION_CHECK="1")
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


def test_the_wheel_holds_the_library_its_types_and_its_licence(wheels: dict[str, Path]) -> None:
    names = zipfile.ZipFile(wheels["carbonbudget_client"]).namelist()
    assert {"carbonbudget/__init__.py", "carbonbudget/py.typed"} <= set(names)
    assert {name.partition("/")[0] for name in names} == {"carbonbudget", "carbonbudget_client-0.1.0.dist-info"}
    assert "carbonbudget_client-0.1.0.dist-info/licenses/LICENSE" in names


def test_both_distributions_are_installed_side_by_side(wheels: dict[str, Path], tmp_path: Path) -> None:
    """The operator's is named carbonbudget, its package is not; no file is in both."""
    files = [set(zipfile.ZipFile(path).namelist()) for path in wheels.values()]
    assert len(files) == 2
    assert not files[0] & files[1]
    python = str(tmp_path / "venv" / "bin" / "python")
    run(UV, "venv", "--quiet", "--offline", "--python", sys.executable, str(tmp_path / "venv"))
    run(UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, *map(str, wheels.values()))
    code = "import carbonbudget, carbonbudget_operator, carbonbudget_core; print(carbonbudget.track)"
    assert "function track" in run(python, "-I", "-c", code)
    assert "keeps its exit code" in run(str(tmp_path / "venv" / "bin" / "carbonbudget-run"), "--help")
