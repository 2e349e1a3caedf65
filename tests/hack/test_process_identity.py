"""Only processes we started are ever ended: known by pid, start time and boot."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from localcluster import processes
from localcluster.processes import Identity, PidFiles

STAT = "{pid} ({name}) S {parent} 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 {start} 1 1 18446744073709551615\n"


def fake_process(proc: Path, pid: int, parent: int = 1, start: int = 1000, name: str = "sleep", argv: str = "") -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(STAT.format(pid=pid, name=name, parent=parent, start=start))
    (proc / str(pid) / "cmdline").write_bytes(argv.replace(" ", "\0").encode() + b"\0")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    boot = tmp_path / "sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("boot-1\n")
    return tmp_path


def test_a_name_with_spaces_and_parentheses_does_not_shift_the_fields() -> None:
    stat = processes.parse_stat(STAT.format(pid=7, name="a) S 99 (b", parent=3, start=424242))
    assert (stat.state, stat.parent, stat.start_ticks) == ("S", 3, 424242)


def test_a_process_is_known_again_by_pid_start_time_and_boot(proc: Path) -> None:
    fake_process(proc, 42, start=5000)
    identity = processes.identify(42, proc)
    assert identity == Identity(42, 5000, "boot-1")
    assert identity.alive(proc)


def test_the_same_pid_with_another_start_time_is_somebody_else(proc: Path) -> None:
    fake_process(proc, 42, start=5000)
    assert not Identity(42, 4999, "boot-1").alive(proc)


def test_the_same_pid_and_start_time_of_another_boot_is_somebody_else(proc: Path) -> None:
    fake_process(proc, 42, start=5000)
    assert not Identity(42, 5000, "boot-0").alive(proc)


def test_a_zombie_is_not_alive(proc: Path) -> None:
    fake_process(proc, 42, start=5000)
    stat = proc / "42/stat"
    stat.write_text(stat.read_text().replace(") S ", ") Z "))
    assert not Identity(42, 5000, "boot-1").alive(proc)


def test_a_stranger_with_a_recycled_pid_is_not_signalled() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        identity = processes.identify(stranger.pid)
        assert identity is not None
        assert processes.end([replace(identity, start_ticks=identity.start_ticks - 1)], 0.1) == []
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_started_process_outlives_its_starter_in_a_session_of_its_own_and_can_be_ended(
    tmp_path: Path,
) -> None:
    files = PidFiles(tmp_path / "pids")
    identity = processes.start("sleeper", ["sleep", "1000"], tmp_path / "log", files, dict(os.environ))
    assert os.getsid(identity.pid) == identity.pid
    assert files.alive("sleeper") == identity
    assert processes.end([identity], 5.0) == [identity.pid]
    assert files.alive("sleeper") is None


def test_a_half_written_pid_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "etcd.json").write_text('{"pid": 4')
    assert PidFiles(tmp_path).read("etcd") is None


def test_descendants_are_found_at_any_depth(proc: Path) -> None:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1)):
        fake_process(proc, pid, parent)
    assert sorted(processes.descendants([10], proc)) == [11, 12]


def test_shims_are_ours_only_if_they_serve_our_containerd(proc: Path) -> None:
    shim = "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id x -address"
    fake_process(proc, 10, argv=f"{shim} /run/carbonbudget-cluster/containerd.sock")
    fake_process(proc, 11, argv=f"{shim} /run/containerd/containerd.sock")
    fake_process(proc, 12, argv="/bin/grep -address /run/carbonbudget-cluster/containerd.sock")
    assert processes.shims(Path("/run/carbonbudget-cluster/containerd.sock"), proc) == [10]
