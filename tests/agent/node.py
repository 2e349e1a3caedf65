"""A small true node: the files a kernel shows, in the shape of a Debian machine with cgroup v1 (cgroupfs driver).

Taken from a running node: /sys/fs/cgroup/cpuacct/kubepods/{burstable,besteffort}/pod<uid>/, /proc/stat,
/proc/meminfo, /proc/cpuinfo, /proc/sys/kernel/random/boot_id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

UID_A = "5b0c1f7e-0000-4000-8000-00000000000a"
UID_B = "5b0c1f7e-0000-4000-8000-00000000000b"
BURSTABLE = "kubepods/burstable"


@dataclass
class FakeNode:
    """Writes the files; CPU that a pod uses is charged to its parents and the root too, as a kernel does."""

    root: Path
    pods: dict[str, int] = field(default_factory=dict)
    charged: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, text in {
            "proc/sys/kernel/random/boot_id": "6f0c0000-0000-4000-8000-000000000001\n",
            "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   12000000 kB\n",
            "proc/cpuinfo": "".join(
                f"processor\t: {i}\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\n"
                "model name\t: AMD EPYC\nstepping\t: 1\n\n"
                for i in range(2)
            ),
            "proc/stat": "cpu  100 0 100 1000 0 0 0 0 0 0\n",
        }.items():
            self.write(name, text)
        for path in ("", "kubepods", BURSTABLE, "kubepods/besteffort"):
            self.charge(path, 0)

    @property
    def cgroups(self) -> Path:
        return self.root / "cgroup"

    @property
    def procfs(self) -> Path:
        return self.root / "proc"

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size == len(text):  # in one stroke, as a kernel's counter changes
            descriptor = os.open(path, os.O_WRONLY)
            os.pwrite(descriptor, text.encode(), 0)
            os.close(descriptor)
        else:
            path.write_text(text)

    def charge(self, path: str, cpu_us: int) -> None:
        self.charged[path] = self.charged.get(path, 0) + cpu_us
        self.write(f"cgroup/cpuacct/{path}/cpuacct.usage", f"{self.charged[path] * 1000:020d}\n")

    def burn(self, cpu_us: int, uid: str = "") -> None:
        """A pod uses CPU; without a uid it is the system that does."""
        if uid:
            path = f"{BURSTABLE}/pod{uid}"
            self.charge(path, cpu_us)
            self.write(f"cgroup/memory/{path}/memory.usage_in_bytes", "3000\n")
            self.write(f"cgroup/memory/{path}/memory.stat", "cache 1\ntotal_inactive_file 1000\n")
            for parent in (BURSTABLE, "kubepods"):
                self.charge(parent, cpu_us)
        self.charge("", cpu_us)

    def remove(self, uid: str) -> None:
        """The pod's cgroup is gone; what it used stays with its parents."""
        for controller in ("cpuacct", "memory"):
            directory = self.cgroups / controller / BURSTABLE / f"pod{uid}"
            for file in directory.iterdir():
                file.unlink()
            directory.rmdir()
        del self.charged[f"{BURSTABLE}/pod{uid}"]

    def pod_list(self, *uids: str, finished: Collection[str] = ()) -> Path:
        """A PodList of these pods, named after the uid's last letter."""
        items = [
            {
                "metadata": {"uid": uid, "name": f"pod-{uid[-1]}", "namespace": "team-a", "labels": {"app": uid[-1]}},
                "spec": {"containers": [{"resources": {"requests": {"cpu": "100m"}}}]},
                "status": {"phase": "Succeeded" if uid in finished else "Running"},
            }
            for uid in uids
        ]
        path = self.root / "pods.json"
        path.write_text(json.dumps({"items": items}))
        return path


class FakeClock:
    """Hands that a test turns."""

    def __init__(self, wall_s: float) -> None:
        self.wall, self.steady = int(wall_s * 1000), 1_000_000

    def wall_ms(self) -> int:
        return self.wall

    def steady_ms(self) -> int:
        return self.steady

    def wait(self, milliseconds: int) -> bool:
        self.go(milliseconds / 1000)
        return False

    def go(self, seconds: float) -> None:
        """Time passes."""
        self.wall += int(seconds * 1000)
        self.steady += int(seconds * 1000)
