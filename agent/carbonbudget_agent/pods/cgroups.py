"""CPU time and memory of every pod from the kernel's cgroups, v1, v2 or hybrid.

The root of the pods is searched for: `kubepods` (cgroupfs driver) or `kubepods.slice` (systemd
driver), possibly nested (kind, a kubelet with its own cgroup root). Files stay open and are read with
pread: 0.45 ms for 250 pods, against 3.3 ms with an open each time. A parent's counter includes the time of
children that ended, so short pods are counted; `peek` finds out their names.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from carbonbudget_agent.sample import PodCounters
from carbonbudget_core.node_report import MAX_INTEGER

_log = logging.getLogger(__name__)
# A pod's directory: its uid, or the 32-hex config hash of a static pod; the systemd driver writes _ for -.
_POD = re.compile(
    r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(\.slice)?$"
)
_ROOT = re.compile(r"(^|-)kubepods(\.slice)?$")
_QOS = re.compile(r"(^|-)(burstable|besteffort)(\.slice)?$")
_MAX_DEPTH = 4  # how deep below the cgroup root a nested kubelet's pods are looked for
_MAX_MEMORY_BYTES = 2**48  # 256 TiB: above it is no memory, but a number that no report can hold
_YOUNG_READS = 3  # a pod that was read this often is no short one, and is not peeked at
# The kernel sums memory.stat again for each reader: half of the cost of a reading. So a pod's page cache is read
# at its first reading, then at each fourth, and whenever its memory has changed by a sixteenth since.
_CACHE_READS = 4
_MOVED = 16


class CgroupError(Exception):
    """The pods' cgroups cannot be found or read; one line gives the reason and what to do."""


@dataclass(frozen=True, slots=True)
class CgroupReading:
    """All pods at one instant. `parents_us` exclude what their own child slices hold. `busy_us` is the node's CPU time,
    without stolen time; None: not known here.

    `ended` are pods that `peek` saw since the previous reading and that are gone, with their last counters.
    `created_ms` is when the cgroups of new pods were made, in milliseconds UTC.
    """

    busy_us: int | None
    parents_us: dict[str, int]
    pods: dict[str, PodCounters]
    ended: dict[str, PodCounters] = field(default_factory=dict)
    created_ms: dict[str, int] = field(default_factory=dict)


class _Files:
    """One cgroup's open files, and the last figures that could be read."""

    __slots__ = (
        "_descriptors", "_paths", "cache_at_bytes", "cache_bytes", "cpu_us", "created_ms", "memory_bytes", "parent",
        "reads", "uid",
    )  # fmt: skip

    def __init__(self, uid: str, parent: str, *paths: str) -> None:
        self.uid, self.parent, self.reads, self.memory_bytes = uid, parent, 0, 0
        self.cache_bytes, self.cache_at_bytes = 0, 0
        self.cpu_us: int | None = None
        self.created_ms: int | None = None
        self._paths = paths
        self._descriptors: list[int | None] = [None] * len(paths)

    def text(self, which: int) -> str | None:
        """A file's content; None when its cgroup is gone or it cannot be read."""
        descriptor = self._descriptors[which]
        if descriptor is not None:
            try:
                return os.pread(descriptor, 16_384, 0).decode("ascii", "replace")
            except OSError:  # ENODEV: this cgroup is gone, but another one may have its path
                self._descriptors[which] = None
                os.close(descriptor)
        try:
            self._descriptors[which] = descriptor = os.open(self._paths[which], os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(descriptor, 16_384, 0).decode("ascii", "replace")
        except OSError:
            return None

    def close(self) -> None:
        for descriptor in self._descriptors:
            if descriptor is not None:
                os.close(descriptor)
        self._descriptors = [None] * len(self._paths)


class CgroupReader:
    """Reads the cgroups of all pods at each sample. A directory that disappears in between is an ended pod."""

    def __init__(self, root: Path) -> None:
        """Raises CgroupError if `root` is no cgroup hierarchy that holds CPU time."""
        unified = (root / "cgroup.controllers").exists()
        cpu = root if unified else next((p for p in _v1(root, "cpuacct") if p.is_dir()), None)
        if cpu is None:
            raise CgroupError(f"{root} holds neither cgroup v2 nor the v1 controller cpuacct: set --cgroup-root")
        memory = root if unified else next((p for p in _v1(root, "memory") if p.is_dir()), None)
        self._unified, self._cpu, self._memory = unified, str(cpu), "" if memory is None else str(memory)
        self._pods_root: str | None = None
        self._slices: dict[str, _Files] = {}
        self._pods: dict[str, _Files] = {}
        self._peeked: dict[str, PodCounters] = {}
        self._created_ms: dict[str, int] = {}  # of pods that were peeked at
        self._grown: set[str] = set()  # slices none of whose pods was young at the last reading
        self._listings: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
        self._top = self._open("", self._cpu)
        self._failing = False
        self.errors = 0  # lists of pods that failed
        self.version = "v2" if unified else "v1"

    def read(self) -> CgroupReading:
        """One pass: parents first, then pods, so that a live pod's time is never taken for a lost one's."""
        slices = self._find_slices()
        totals = {path: self._cpu_us(files) for path, files in slices.items()}
        parents = {os.path.basename(path): total for path, total in totals.items() if total is not None}
        if self._pods_root is not None and totals.get(self._pods_root) is not None:
            # The time of the QoS slices is counted there; the rest is that of the guaranteed pods.
            below = sum(total or 0 for path, total in totals.items() if path != self._pods_root)
            parents[os.path.basename(self._pods_root)] -= below
        pods: dict[str, PodCounters] = {}
        seen: set[str] = set()
        created_ms, self._created_ms = self._created_ms, {}
        self._grown = set(slices)
        for parent in slices:
            for path in self._listed(parent, _POD):
                files = self._files(path)
                seen.add(path)
                files.reads += 1
                if files.reads < _YOUNG_READS:
                    self._grown.discard(parent)
                if files.reads == 1 and files.created_ms is not None:
                    created_ms[files.uid] = files.created_ms
                counters = self._pod(files)
                if counters is not None:
                    pods[files.uid] = counters
        for path in [path for path in self._pods if path not in seen]:
            self._pods.pop(path).close()
        ended = {uid: counters for uid, counters in self._peeked.items() if uid not in pods}
        self._peeked = {}
        return CgroupReading(self._busy_us(), parents, pods, ended, created_ms)

    def peek(self) -> list[str]:
        """Between two readings: remember what young pods have used, because they may be gone at the next.

        Their uids.
        """
        young: list[str] = []
        for parent in self._slices:
            known = self._listings.get((parent, _POD.pattern))
            paths = self._listed(parent, _POD)
            if known is not None and known[1] is paths and parent in self._grown:
                continue  # mostly: the same pods as at the last reading, none of them young
            self._grown.discard(parent)
            for path in paths:
                files = self._files(path)
                cpu_us = self._cpu_us(files) if files.reads < _YOUNG_READS else None
                if cpu_us is not None:
                    young.append(files.uid)
                    self._peeked[files.uid] = PodCounters(cpu_us, 0, files.parent)
                    if files.created_ms is not None:
                        self._created_ms[files.uid] = files.created_ms
        return young

    def close(self) -> None:
        """Close all open files."""
        for files in (*self._slices.values(), *self._pods.values(), self._top):
            files.close()
        self._slices, self._pods = {}, {}

    def _find_slices(self) -> dict[str, _Files]:
        """The pods' root and its QoS children, root first."""
        if self._pods_root is None or not self._pods or not os.path.isdir(self._pods_root):
            self._pods_root = self._find_pods_root()
        found = [] if self._pods_root is None else [self._pods_root, *self._listed(self._pods_root, _QOS)]
        for path in [path for path in self._slices if path not in found]:
            self._slices.pop(path).close()
            self._listings.clear()
        self._slices = {path: self._slices.get(path) or self._open("", path) for path in found}
        return self._slices

    def _files(self, path: str) -> _Files:
        files = self._pods.get(path)
        if files is None:
            match = _POD.search(path)
            assert match is not None
            files = self._pods[path] = self._open(match[1].replace("_", "-"), path)
            files.created_ms = _changed_ms(path)
        return files

    def _listed(self, path: str, name: re.Pattern[str]) -> list[str]:
        """The directories below whose name fits. While they cannot be listed, the last list is used: a pod that was
        left out once would count from 0 again. If the names are unchanged, no directory is examined again.
        """
        previous = self._listings.get((path, name.pattern))
        try:
            names = os.listdir(path)
            if previous is not None and previous[0] == names:
                return previous[1]
            found = _scan(path, name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.errors += 1
            if not self._failing:  # once, until it works again
                _log.error("%s cannot be listed, its last pods are used: %s", path, error)
            self._failing = True
            return [] if previous is None else previous[1]
        self._failing = False
        self._listings[path, name.pattern] = names, found
        return found

    def _open(self, uid: str, path: str) -> _Files:
        memory, parent = self._memory + path[len(self._cpu) :], os.path.basename(os.path.dirname(path))
        if self._unified:
            return _Files(uid, parent, f"{path}/cpu.stat", f"{memory}/memory.current", f"{memory}/memory.stat")
        return _Files(uid, parent, f"{path}/cpuacct.usage", f"{memory}/memory.usage_in_bytes", f"{memory}/memory.stat")

    def _find_pods_root(self) -> str | None:
        """The directory named like kubepods nearest to the top; None while no pod ever ran.

        Of two beside each other the one that holds pods: the other is left from another cgroup driver.
        """
        level = [self._cpu]
        for _ in range(_MAX_DEPTH):
            children = sorted(child for path in level for child in _directories(path))
            roots = [child for child in children if _ROOT.search(os.path.basename(child))]
            if roots:
                return next(filter(_holds_pods, roots), roots[0])
            level = children
        return None

    def _pod(self, files: _Files) -> PodCounters | None:
        cpu_us = self._cpu_us(files)
        if cpu_us is None:
            return None
        return PodCounters(cpu_us, self._memory_bytes(files), files.parent)

    def _cpu_us(self, files: _Files) -> int | None:
        """CPU time so far. While the directory exists and its file cannot be read, the last figure: a pod
        that was left out once would count from 0 again."""
        text = files.text(0)
        if text is not None:
            if self._unified:
                found = _field(text, "usage_usec")
            else:
                nanoseconds = _number(text)
                found = None if nanoseconds is None else nanoseconds // 1000
            files.cpu_us = files.cpu_us if found is None or found > MAX_INTEGER else found
        return files.cpu_us

    def _busy_us(self) -> int | None:
        """CPU time of the whole node so far; None where the root has no figure (v2 before Linux 5.8).

        `usage_usec` of v2's root is not used: up to Linux 6.13 it includes stolen time, which other machines used,
        and up to 5.15 it counts guest time twice. Its `user_usec` and `system_usec` are the times of /proc/stat on
        every version: user and nice; system, irq and softirq. A guest's time is in them once, as user time, and once in
        the cgroup of the pod that runs the virtual machine. /proc/stat itself is not read here: it has ticks of 10 ms,
        and the kernel adds up all interrupts for each reader.
        """
        if not self._unified:
            return self._cpu_us(self._top)
        text = self._top.text(0) or ""
        user_us, system_us = _field(text, "user_usec"), _field(text, "system_usec")
        if user_us is not None and system_us is not None and user_us + system_us <= MAX_INTEGER:
            self._top.cpu_us = user_us + system_us
        return self._top.cpu_us

    def _memory_bytes(self, files: _Files) -> int:
        """The working set: charged memory minus the page cache that the kernel would drop first."""
        if not self._memory:
            return 0
        current = _number(files.text(1) or "")
        if current is not None and current <= _MAX_MEMORY_BYTES:
            moved = abs(current - files.cache_at_bytes) * _MOVED > files.cache_at_bytes
            if moved or files.reads % _CACHE_READS == 1:
                name = "inactive_file" if self._unified else "total_inactive_file"
                files.cache_bytes, files.cache_at_bytes = _field(files.text(2) or "", name) or 0, current
            files.memory_bytes = max(0, current - files.cache_bytes)
        return files.memory_bytes


def _changed_ms(path: str) -> int | None:
    """When a cgroup was made, in milliseconds UTC: its directory has that time. None if it is gone."""
    try:
        return os.stat(path).st_mtime_ns // 1_000_000
    except OSError:
        return None


def _holds_pods(root: str) -> bool:
    return any(_directories(path, _POD) for path in (root, *_directories(root, _QOS)))


def pod_of_path(path: str) -> str | None:
    """The uid of the pod that a cgroup path lies in; None if it lies in none."""
    for name in path.split("/"):
        match = _POD.search(name)
        if match is not None:
            return match[1].replace("_", "-")
    return None


def _v1(root: Path, controller: str) -> Iterator[Path]:
    """Where a v1 controller may be mounted: on its own, or with the one it is mostly joined with."""
    yield root / controller
    yield root / {"cpuacct": "cpu,cpuacct"}.get(controller, controller)


def _directories(path: str, name: re.Pattern[str] | None = None) -> list[str]:
    try:
        return _scan(path, name)
    except OSError:
        return []


def _scan(path: str, name: re.Pattern[str] | None) -> list[str]:
    with os.scandir(path) as entries:
        return [
            entry.path
            for entry in entries
            if (name is None or name.search(entry.name)) and entry.is_dir(follow_symlinks=False)
        ]


def _field(text: str, name: str) -> int | None:
    """The value of the line `name value`, found without splitting the rest."""
    at = 0 if text.startswith(name + " ") else text.find(f"\n{name} ") + 1
    if at == 0 and not text.startswith(name + " "):
        return None
    return _number(text[at + len(name) + 1 :].partition("\n")[0])


def _number(text: str) -> int | None:
    """A counter of at most 64 bits; None for anything else."""
    digits = text.strip()
    return int(digits) if digits.isdecimal() and len(digits) <= 20 else None
