"""The demo: how it installs, what it says when it cannot, and what it leaves one to try."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType

import pytest

from localcluster import tools

ROOT = Path(__file__).resolve().parents[2]
# kubectl and helm as programs: each notes what it was asked; helm refuses as the real one does if it is to.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$0 $REFUSES" in *helm\\ yes)
  echo 'Error: Unable to continue with install: CustomResourceDefinition "carbonbudgets.carbonbudget.dev" in' \\
    'namespace "" exists and cannot be imported into the current release: invalid ownership metadata' >&2; exit 1
esac
"""


@pytest.fixture
def demo() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("demo", str(ROOT / "hack" / "demo"))
    spec = importlib.util.spec_from_loader("demo", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the kubeconfig, and the programs on PATH."""
    (tmp_path / "bin").mkdir()
    for name in ("kubectl", "helm"):
        (tmp_path / "bin" / name).write_text(PROGRAM)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "state" / "kubeconfig"))
    return tmp_path / "state"


def helm_calls(state: Path) -> list[str]:
    return [line for line in (state.parent / "calls").read_text().splitlines() if line.startswith("helm ")]


def test_on_the_demos_own_cluster_what_was_left_there_is_taken_over(demo: ModuleType, state: Path) -> None:
    (state / "etcd").mkdir()
    demo.install()
    (call,) = helm_calls(state)
    assert "--take-ownership" in call.split()


def test_on_a_cluster_of_ones_own_nothing_is_taken_over_and_one_is_told_what_to_do(
    demo: ModuleType, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSES", "yes")
    with pytest.raises(demo.DemoError) as caught:
        demo.install()
    (call,) = helm_calls(state)
    assert "--take-ownership" not in call.split()
    said = str(caught.value)
    assert said.startswith(f"{call}: Error: Unable to continue")  # the whole command, so that it can be repeated
    assert "repeat the command above with --take-ownership" in said


def test_what_to_try_next_can_be_pasted_as_a_block(demo: ModuleType) -> None:
    first, page, raised, *others = demo.NEXT.format(shell="", sudo="", kubeconfig="/k", bin="/b").split("\n\n")
    assert "export KUBECONFIG=/k" in first
    assert "kubectl carbon ui" in page
    commands = [line.partition("   #")[0].strip() for line in raised.splitlines()]
    assert not [command for command in commands if "--watch" in command or "demo-down" in command]
    patched, fits = (next(i for i, c in enumerate(commands) if re.search(word, c)) for word in ("patch", "create -f"))
    assert any(" wait " in command for command in commands[patched + 1 : fits])
    assert ["watch" in others[0], "demo-down" in others[1]] == [True, True]


def test_whoever_ran_it_by_sudo_is_told_that_the_rest_needs_a_root_shell(demo: ModuleType) -> None:
    """The kubeconfig and the programs are root's: as another user the first command would be refused."""
    said = demo.NEXT.format(shell=demo.ROOT_SHELL, sudo="sudo ", kubeconfig="/k", bin="/b")
    assert said.lstrip().startswith("sudo -s")
    assert said.endswith("sudo make demo-down")


def test_a_helm_that_cannot_take_over_is_not_taken_from_path() -> None:
    assert [tools.fits("helm", version, False) for version in ((3, 16), (3, 17), (4, 0))] == [False, True, False]
