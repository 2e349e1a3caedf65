"""What the agent costs a node: CPU seconds a minute and memory, by number of pods.

A synthetic cgroup v1 tree and a pods file; every pod uses CPU all the time. Samples every 5 s, as in production.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import Figures, arguments, cpu_seconds, rss_mib, show  # noqa: E402 - after the path
from tests.agent.node import FakeNode  # noqa: E402


def uid(index: int) -> str:
    """A pod's uid."""
    return f"5b0c1f7e-0000-4000-8000-{index:012x}"


def measure(pods: int, seconds: int) -> Figures:
    """Run the agent beside `pods` busy pods."""
    with tempfile.TemporaryDirectory() as directory:
        node = FakeNode(Path(directory))
        uids = [uid(index) for index in range(pods)]
        for one in uids:
            node.burn(1000, one)
        command = [
            str(Path(sys.executable).parent / "carbonbudget-agent"), "run", "--dry-run", "--window", "60",
            "--interval", "5", "--sysfs", f"{directory}/sys", "--procfs", str(node.procfs),
            "--cgroup-root", str(node.cgroups), "--pods-file", str(node.pod_list(*uids)), "--log-level", "error",
        ]  # fmt: skip
        agent = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            time.sleep(8)  # start and first sample are not the running cost
            began, used = time.monotonic(), cpu_seconds(agent.pid)
            while time.monotonic() - began < seconds:
                for one in uids:
                    node.burn(1000, one)
                time.sleep(1)
            minutes = (time.monotonic() - began) / 60
            cpu = (cpu_seconds(agent.pid) - used) / minutes
            return {"pods": pods, "cpu_seconds_per_minute": round(cpu, 3), "rss_mib": rss_mib(agent.pid)}
        finally:
            agent.terminate()
            agent.wait()


if __name__ == "__main__":
    given = arguments(__doc__ or "")
    sizes, seconds = ([30, 100], 20) if given.quick else ([30, 100, 250, 500], 65)
    show([measure(pods, seconds) for pods in sizes], given.json)
