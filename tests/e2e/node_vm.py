"""The node in the virtual machine as the tests use it: its own counters, and an agent of its own on it."""

from __future__ import annotations

import copy
import re
import sqlite3
import subprocess
from dataclasses import dataclass

from tests.conftest import ROOT
from tests.e2e.conftest import AGENTS, Manifest, Release, wait_for

FIRST, SECOND = "node-1", "node-2"
HERE = "kubernetes.io/hostname"
_KUBEPODS = "/sys/fs/cgroup/kubepods.slice"
_BESTEFFORT = f"{_KUBEPODS}/kubepods-besteffort.slice/cpu.stat"
_POD = re.compile(r"pod([0-9a-f_]+)\.slice/cpu\.stat$")


@dataclass(frozen=True)
class Counters:
    """What the node's kernel counted, in microseconds of CPU: of each pod by uid, and of all BestEffort pods ever."""

    pods_us: dict[str, int]
    besteffort_us: int


def cluster_command(*words: str) -> str:
    """Run `hack/cluster node-vm ...`; its output."""
    command = [ROOT / "hack" / "cluster", "node-vm", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def on_node(script: str) -> str:
    """Run a shell script on the node as root; its output."""
    return cluster_command("run", script)


def parse_counters(text: str) -> Counters:
    """From lines `PATH:usage_usec COUNT` of a node with cgroup v2 and the systemd driver."""
    pods_us: dict[str, int] = {}
    besteffort_us = 0
    for line in text.splitlines():
        path, _, count = line.partition(":usage_usec ")
        if found := _POD.search(path):
            pods_us[found[1].replace("_", "-")] = int(count)
        elif path == _BESTEFFORT:
            besteffort_us = int(count)
    return Counters(pods_us, besteffort_us)


def counters() -> Counters:
    """The counters now, all read by one command."""
    return parse_counters(on_node(f"find {_KUBEPODS} -maxdepth 3 -name cpu.stat -exec grep -H ^usage_usec {{}} +"))


def placed(manifest: Manifest, node: str) -> Manifest:
    """The pod, bound to a node whatever its taint."""
    spec = manifest["spec"]
    assert isinstance(spec, dict)
    more = {"nodeSelector": {HERE: node}, "tolerations": [{"key": "carbonbudget.dev/node-vm", "operator": "Exists"}]}
    return manifest | {"spec": spec | more}


def agent_of_second(release: Release) -> Manifest:
    """The chart's DaemonSet for the second node, which has its counters elsewhere.

    The chart mounts one list of cgroup paths on all nodes it selects; a cluster that has both kinds of nodes needs two.
    """
    made = copy.deepcopy(release.cluster.get("-n", AGENTS, "ds", "carbonbudget-agent"))
    spec = made["spec"]
    assert isinstance(spec, dict)
    its = {"carbonbudget.dev/cgroup": "v2"}
    template = spec["template"]
    template["metadata"]["labels"] |= its
    template["spec"]["nodeSelector"][HERE] = SECOND
    volumes = template["spec"]["volumes"]
    (container,) = template["spec"]["containers"]
    mounts = container["volumeMounts"]
    path = "/sys/fs/cgroup"
    container["volumeMounts"] = [m for m in mounts if not m["name"].startswith("cgroup-")] + [
        {"name": "cgroup-0", "mountPath": f"/host{path}", "readOnly": True}
    ]
    template["spec"]["volumes"] = [v for v in volumes if not v["name"].startswith("cgroup-")] + [
        {"name": "cgroup-0", "hostPath": {"path": path, "type": "Directory"}}
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "carbonbudget-agent-v2", "namespace": AGENTS},
        "spec": {
            "selector": {"matchLabels": spec["selector"]["matchLabels"] | its},
            "template": template,
            "updateStrategy": spec["updateStrategy"],
        },
    }


def measured_uj(release: Release) -> dict[str, int]:
    """What the ledger holds of each node's measured energy."""
    with sqlite3.connect(f"file:{release.volumes}/ledger/ledger.db?mode=ro", uri=True) as ledger:
        query = "SELECT name, measured_uj FROM node_hour JOIN node ON node.id = node_id"
        found: dict[str, int] = {}
        for name, energy_uj in ledger.execute(query):
            found[name] = found.get(name, 0) + energy_uj
    ledger.close()
    return found


def kill_agent() -> None:
    """SIGKILL the agent's process on the second node, and wait until another runs."""
    ask = "grep -l ^carbonbudget-ag /proc/[0-9]*/comm | cut -d/ -f3"  # the kernel keeps 15 characters of a name
    before = [int(pid) for pid in on_node(ask).split()]
    assert before, "no agent runs on the node"
    on_node(f"kill -KILL {' '.join(map(str, before))}")

    def another() -> bool:
        now = [int(pid) for pid in on_node(ask).split()]
        return bool(now) and not set(now) & set(before)

    wait_for("another agent", another, seconds=180)
