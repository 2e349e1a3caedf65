"""hack/cluster: one cluster at a time, sentences instead of stack traces, a complete --help."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest

from localcluster import cli, existing, lock, machine
from localcluster.say import ClusterError, run_main
from localcluster.settings import REPO


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CARBONBUDGET_CLUSTER_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CARBONBUDGET_CLUSTER_RUN_DIR", str(tmp_path / "run"))


def test_status_of_no_cluster_exits_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 3
    assert capsys.readouterr().out == "the cluster is down\n"


def test_an_error_is_one_sentence_without_a_stack_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(cli.main, ["kubeconfig"]) == 1
    assert capsys.readouterr().err == "error: there is no cluster: start one with `hack/cluster up`\n"


def test_without_root_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="root is needed"):
        cli.main(["up"])


def test_too_little_disk_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MIN_FREE_GB", 10**9)
    with pytest.raises(ClusterError, match="GB are free"):
        machine.check_disk(tmp_path / "deep" / "state")


def test_a_cluster_of_ones_own_is_remembered_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    existing.pointer().parent.mkdir(parents=True)
    existing.pointer().write_text("/home/me/kubeconfig\n")
    assert cli.main(["kubeconfig"]) == 0
    assert capsys.readouterr().out == "/home/me/kubeconfig\n"
    with pytest.raises(ClusterError, match="registry"):
        cli.main(["load", "x.tar"])
    assert cli.main(["down"]) == 0
    assert existing.current() is None


def test_a_second_command_waits_for_the_first(tmp_path: Path) -> None:
    path = tmp_path / "cluster.lock"
    order: list[str] = []

    def second() -> None:
        with lock.exclusive(path):
            order.append("second")

    with lock.exclusive(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]
    assert not path.exists()


def test_help_names_every_environment_variable_and_the_page_every_command() -> None:
    code = (REPO / "hack/localcluster/settings.py").read_text()
    variables = set(re.findall(r"CARBONBUDGET_CLUSTER_\w+", code))
    assert variables
    assert all(name in cli.ENVIRONMENT for name in variables)
    page = (REPO / "docs/development/cluster.md").read_text()
    verbs = cli.parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert [verb for verb in verbs or () if f"hack/cluster {verb}" not in page] == []
