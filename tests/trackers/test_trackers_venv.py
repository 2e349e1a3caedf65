"""hack/trackers-venv makes the environment once, also where several processes of the tests ask for it at a time."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import ROOT

# Stands for uv: notes what it makes, and makes as much as the script looks at.
UV = """#!/bin/sh
echo "$1" >> made
for venv; do :; done
[ "$1" != venv ] || { mkdir -p "$venv/bin"; touch "$venv/bin/python"; chmod +x "$venv/bin/python"; }
"""


def test_processes_that_ask_at_a_time_make_it_once(tmp_path: Path) -> None:
    for file in ("hack/trackers-venv", "requirements/trackers.txt", "client/pyproject.toml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/uv").write_text(UV)
    (tmp_path / ".venv/bin/uv").chmod(0o755)
    asking = [subprocess.Popen([tmp_path / "hack/trackers-venv"], stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [each.wait(60) for each in asking] == [0, 0, 0, 0]
    assert (tmp_path / "made").read_text().split() == ["venv", "pip", "pip"]
