"""Finds the pod of a process in /proc/<pid>/cgroup: it attributes work on a GPU. Needs the host's pids (hostPID)."""

from __future__ import annotations

from pathlib import Path

from carbonbudget_agent.pods.cgroups import pod_of_path


def pod_of_process(procfs: Path, pid: int) -> str | None:
    """The uid of the pod's cgroup; "" for a process of no pod; None if the process cannot be seen."""
    try:
        text = (procfs / str(pid) / "cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        uid = pod_of_path(line.rpartition(":")[2])
        if uid:
            return uid
    return ""
