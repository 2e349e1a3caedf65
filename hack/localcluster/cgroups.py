"""The cgroups the kubelet makes: `kubepods` in every v1 hierarchy and in the v2 one."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

NAME = "kubepods"  # the cgroupfs driver's name, which is what our kubelet uses


def hierarchies(mountinfo: str) -> list[Path]:
    """Where cgroup file systems are mounted, from the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[:1] in (["cgroup"], ["cgroup2"]):
            found.append(Path(before.split()[4].replace("\\040", " ")))
    return found


def kubepods(roots: Sequence[Path]) -> list[Path]:
    return [root / NAME for root in roots if (root / NAME).is_dir()]


def here() -> list[Path]:
    """The kubepods cgroups of this machine now."""
    return kubepods(hierarchies(Path("/proc/self/mountinfo").read_text()))


def members(tree: Path) -> set[int]:
    """The processes in a cgroup and all below it."""
    pids: set[int] = set()
    for directory, _, files in os.walk(tree):
        if "cgroup.procs" in files:
            try:
                pids |= {int(pid) for pid in (Path(directory) / "cgroup.procs").read_text().split()}
            except OSError:
                pass  # the cgroup went away while we looked
    return pids


def remove(tree: Path, patience_s: float = 5.0) -> bool:
    """Removes a cgroup and all below it, leaves first. Busy until its last process is reaped: tries again."""
    deadline = time.monotonic() + patience_s
    while tree.exists():
        for directory, _, _ in os.walk(tree, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                pass  # still has a process or a child: the next round
        if tree.exists():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
    return True
