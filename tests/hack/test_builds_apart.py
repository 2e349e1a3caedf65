"""Builds of several checkouts: one at a time in the shared storage, each with the image it built itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localcluster.imagebuild.builder import Builder

HACK = Path(__file__).resolve().parents[2] / "hack"
# buildah whose names always lead to another checkout's image: only the id that a build gives leads to its own.
BUILDAH = f"""#!{sys.executable}
import pathlib, sys
words = sys.argv[1:]
if "build" in words:
    pathlib.Path(words[words.index("--iidfile") + 1]).write_text("sha256:mine")
elif "inspect" in words:
    print('{{"FromImageID": "others"}}')
elif "push" in words:
    source, target = words[-2:]
    content = "mine" if source == "sha256:mine" else "others"
    pathlib.Path(target.split(":")[1]).write_text(content + " as " + target.split(":", 2)[2])
"""


@pytest.fixture(autouse=True)
def buildah(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this test's own, and a buildah on PATH that answers as above."""
    (tmp_path / "bin").mkdir()
    for name, text in {"buildah": BUILDAH, "umount": "#!/bin/sh\n"}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_image_that_is_exported_is_the_one_that_was_built_whoever_has_its_name_by_now(tmp_path: Path) -> None:
    with Builder() as builder:
        image_id = builder.build("carbonbudget-agent", "carbonbudget-agent:dev", "1", tmp_path / "log")
        builder.export(image_id, "carbonbudget-agent:dev", tmp_path / "agent.tar")
    assert image_id == "sha256:mine"
    assert (tmp_path / "agent.tar").read_text() == "mine as carbonbudget-agent:dev"


def test_a_second_build_says_that_it_waits_and_goes_on_when_the_first_is_done() -> None:
    other = "from localcluster.imagebuild.builder import Builder\nwith Builder(): print('building', flush=True)"
    with Builder():
        waiting = subprocess.Popen(
            [sys.executable, "-c", other], cwd=HACK, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        assert waiting.stdout is not None
        said = waiting.stdout.readline()
        assert said == f"another hack/images is at work (pid {os.getpid()}): waiting for it\n"
        assert waiting.poll() is None
    rest, _ = waiting.communicate(timeout=30)
    assert (rest, waiting.returncode) == ("building\n", 0)


def test_a_build_that_cannot_begin_leaves_the_storage_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "cache/carbonbudget").mkdir(parents=True)
    (tmp_path / "cache/carbonbudget/buildah").write_text("not a directory")
    with pytest.raises(FileExistsError), Builder():
        pass
    (tmp_path / "cache/carbonbudget/buildah").unlink()
    with Builder() as builder:
        assert builder.storage.is_dir()
