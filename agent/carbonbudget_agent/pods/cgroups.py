"""CPU time and memory of every pod from the kernel's cgroups, v1, v2 or hybrid.

The root of the pods is searched, not assumed: `kubepods` (cgroupfs driver) or `kubepods.slice` (systemd
driver), possibly nested (kind, a kubelet with its own cgroup root). Files stay open and are read with
pread: 0.45 ms for 250 pods, against 3.3 ms with an open each time. A parent's counter keeps the time of
children that are gone, which is what makes short pods add up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from carbonbudget_agent.sample import PodCounters

# A pod's directory: its uid, or the 32-hex config hash of a static pod; the systemd driver writes _ for -.
_POD = re.compile(
    r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(\.slice)?$"
)
_ROOT = re.compile(r"(^|-)kubepods(\.slice)?$")
_QOS = re.compile(r"(^|-)(burstable|besteffort)(\.slice)?$")
_MAX_DEPTH = 4  # how deep below the cgroup root a nested kubelet's pods are looked for


class CgroupError(Exception):
    """The pods' cgroups cannot be found or read; one line says why and what to do."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All pods at one instant. `parents_us` exclude what their own child slices hold."""

    busy_us: int | None
    parents_us: dict[str, int]
    pods: dict[str, PodCounters]


class CgroupReader:
    """Reads the tree again and again; directories that vanish in between are simply gone."""

    def __init__(self, root: Path) -> None:
        """Raises CgroupError if `root` is no cgroup hierarchy that holds CPU time."""
        unified = (root / "cgroup.controllers").exists()
        self._cpu = root if unified else next((p for p in _v1(root, "cpuacct") if p.is_dir()), None)
        if self._cpu is None:
            raise CgroupError(f"{root} holds neither cgroup v2 nor the v1 controller cpuacct: set --cgroup-root")
        self._memory = root if unified else next((p for p in _v1(root, "memory") if p.is_dir()), None)
        self._unified = unified
        self._files: dict[Path, int] = {}
        self._pods_root: Path | None = None
        self.version = "v2" if unified else "v1"

    def read(self) -> Reading:
        """One pass: parents first, then pods, so that a live pod's time is never taken for a lost one's."""
        if self._pods_root is None or not self._pods_root.is_dir():
            self._pods_root = self._find_pods_root()
        seen: set[Path] = set()
        parents: dict[str, int] = {}
        pods: dict[str, PodCounters] = {}
        if self._pods_root is not None:
            slices = [self._pods_root, *(d for d in _directories(self._pods_root) if _QOS.search(d.name))]
            totals = {path: self._cpu_us(path, seen) for path in slices}
            root_us = totals[self._pods_root]
            for path, total_us in totals.items():
                if total_us is not None:
                    parents[path.name] = total_us
            if root_us is not None:
                parents[self._pods_root.name] = root_us - sum(totals[path] or 0 for path in slices[1:])
            for path in slices:
                for directory in _directories(path):
                    self._read_pod(directory, path.name, pods, seen)
        busy_us = self._cpu_us(self._cpu, seen) if self._cpu else None
        self._forget(seen)
        return Reading(busy_us, parents, pods)

    def close(self) -> None:
        """Close all held files."""
        self._forget(set())

    def _read_pod(self, directory: Path, parent: str, pods: dict[str, PodCounters], seen: set[Path]) -> None:
        match = _POD.search(directory.name)
        if match is None:
            return
        cpu_us = self._cpu_us(directory, seen)
        if cpu_us is not None:
            uid = match[1].replace("_", "-")
            pods[uid] = PodCounters(cpu_us, self._memory_bytes(directory, seen), parent)

    def _find_pods_root(self) -> Path | None:
        """The first directory named like kubepods, nearest to the top; None while no pod ever ran."""
        level = [self._cpu] if self._cpu else []
        for _ in range(_MAX_DEPTH):
            children = [child for path in level for child in _directories(path)]
            for child in children:
                if _ROOT.search(child.name):
                    return child
            level = children
        return None

    def _cpu_us(self, directory: Path, seen: set[Path]) -> int | None:
        if not self._unified:
            text = self._text(directory / "cpuacct.usage", seen)
            return int(text) // 1000 if text is not None and text.isdigit() else None
        text = self._text(directory / "cpu.stat", seen)
        return None if text is None else _field(text, "usage_usec")

    def _memory_bytes(self, directory: Path, seen: set[Path]) -> int:
        """The working set: what is charged less the page cache the kernel would drop first."""
        if self._memory is None or self._cpu is None:
            return 0
        path = self._memory / directory.relative_to(self._cpu)
        current = self._text(path / ("memory.current" if self._unified else "memory.usage_in_bytes"), seen)
        stat = self._text(path / "memory.stat", seen)
        if current is None or not current.isdigit():
            return 0
        cache = _field(stat or "", "inactive_file" if self._unified else "total_inactive_file") or 0
        return max(0, int(current) - cache)

    def _text(self, path: Path, seen: set[Path]) -> str | None:
        """A held file's content; None when its cgroup is gone."""
        try:
            descriptor = self._files.get(path)
            if descriptor is None:
                descriptor = self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            text = os.pread(descriptor, 16_384, 0).decode("ascii", "replace").strip()
        except OSError:
            return None
        seen.add(path)
        return text or None

    def _forget(self, seen: set[Path]) -> None:
        for path in [path for path in self._files if path not in seen]:
            os.close(self._files.pop(path))


def _v1(root: Path, controller: str) -> Iterator[Path]:
    """Where a v1 controller may be mounted: on its own, or with the one it is mostly joined with."""
    yield root / controller
    yield root / {"cpuacct": "cpu,cpuacct"}.get(controller, controller)


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _field(text: str, name: str) -> int | None:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return None
