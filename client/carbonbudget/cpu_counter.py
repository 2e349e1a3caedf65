"""The cumulative CPU time of this container, else of this process: a span's weight inside a measured window."""

from __future__ import annotations

import os
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable


def _cgroup_paths(proc: str) -> dict[str, str]:
    """The cgroup of this process by controller; version 2 has the key ""."""
    lines = Path(proc, "self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    found = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def counter_file(proc: str = "/proc", root: str = "/sys/fs/cgroup") -> str | None:
    """The file with the CPU time of the container's own cgroup; None outside of one, and where it cannot be found."""
    try:
        paths = _cgroup_paths(proc)
    except (OSError, ValueError):
        return None
    # In a container the mounted tree begins at its own cgroup; without a cgroup namespace the path is the node's.
    for controller, folders, name, of_the_node in (
        ("", ("", "unified"), "cpu.stat", "cgroup.type"),  # only the root of version 2 lacks cgroup.type
        ("cpuacct", ("cpuacct", "cpu,cpuacct"), "cpuacct.usage", "release_agent"),  # only version 1's root has it
    ):
        for folder in folders if controller in paths else ():
            for path in (paths[controller].lstrip("/"), ""):
                cgroup = os.path.join(root, folder, path)
                file = os.path.join(cgroup, name)
                is_root = os.path.exists(os.path.join(cgroup, of_the_node)) == (name == "cpuacct.usage")
                if os.path.exists(file) and not is_root and _usage_us(Path(file).read_bytes()) is not None:
                    return file
    return None


def _usage_us(text: bytes) -> int | None:
    """Microseconds from cpu.stat or nanoseconds of cpuacct.usage."""
    if text.startswith(b"usage_usec "):
        return int(text[11 : text.index(b"\n")])
    return int(text) // 1000 if text.strip().isdigit() else None


def _process_us() -> Callable[[], int | None]:
    """Reads the CPU time of this process and of its children that have ended."""
    try:
        from resource import RUSAGE_CHILDREN, getrusage
    except ImportError:  # not on Windows
        return lambda: time.process_time_ns() // 1000

    def read() -> int:
        children = getrusage(RUSAGE_CHILDREN)
        return time.process_time_ns() // 1000 + int((children.ru_utime + children.ru_stime) * 1e6)

    return read


class CpuCounter:
    """Reads one counter for the life of a process: both edges of a span are of the same one."""

    def __init__(self, file: str | None) -> None:
        """`read_us` returns microseconds of CPU time so far; None after the counter could not be read once."""
        self._descriptor = -1
        self._failed = False
        self.read_us: Callable[[], int | None] = self._read_file
        if file is not None:
            try:
                self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                pass
        if self._descriptor < 0:
            self.read_us = _process_us()

    def _read_file(self) -> int | None:
        if self._failed:
            return None
        try:
            text = os.pread(self._descriptor, 64, 0)
            if text[:11] == b"usage_usec ":
                return int(text[11 : text.index(b"\n")])
            return int(text) // 1000
        except (OSError, ValueError):
            # Somebody closed our file, perhaps all files: its number may be another file's by now.
            self._failed = True
            return None
