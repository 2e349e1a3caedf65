"""Two nodes of one cluster, cgroup v1 here and v2 with the systemd driver in a virtual machine: known loads on both.

`make node-vm-test` starts the second node, which software emulation makes slow; see docs/development/cluster.md.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.conftest import Cluster
from tests.e2e import node_vm
from tests.e2e.conftest import AGENTS, CRDS, SYSTEM, Manifest, Release, pod, wait_for
from tests.e2e.node_vm import FIRST, SECOND
from tests.e2e.test_agent import BURN, besteffort_us

pytestmark = [pytest.mark.cluster, pytest.mark.node_vm, pytest.mark.timeout(3000)]

MINUTES = float(os.environ.get("CARBONBUDGET_NODE_VM_MINUTES") or 10)
WINDOW_S, INTERVAL_S = 60, 5  # as in production
NODES = (FIRST, SECOND)
SHORT_EVERY_S = 12
CONFIG = ("--config", "/etc/carbonbudget/config/config.yaml")
# Busy for a part of each two seconds, until the end; then it stays, so that its counters do.
PART = (
    "end=$(($(date +%s)+{seconds})); while [ $(date +%s) -lt $end ]; do "
    "timeout 1 sh -c 'while :; do :; done'; sleep 1; done"
)
LOADS = {"full": BURN, "part": PART, "rest": "sleep 1"}


@pytest.fixture(scope="module")
def two_nodes(cluster: Cluster) -> Iterator[Release]:
    """The chart with a ledger of its own, and the settings of production; an agent on each node."""
    assert node_vm.cluster_command("status").strip() == f"node {SECOND}: Ready"
    release = Release(cluster, volumes=cluster.kubeconfig.parent / "volumes-node-vm")
    hostname = node_vm.HERE.replace(".", r"\.")
    try:
        release.helm(
            "--set", f"windowSeconds={WINDOW_S}", "--set", f"agent.intervalSeconds={INTERVAL_S}",
            "--set-string", f"agent.nodeSelector.{hostname}={FIRST}", "--set", "agent.gpu.enabled=true",
        )  # fmt: skip
        release.apply(node_vm.agent_of_second(release))
        cluster.kubectl("-n", AGENTS, "rollout", "status", "ds/carbonbudget-agent-v2", "--timeout=280s")
        wait_for("both nodes in the ledger", lambda: set(NODES) <= node_vm.measured_uj(release).keys(), 300)
        yield release
    finally:
        release.uninstall()
        for namespace in (SYSTEM, AGENTS):
            cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found")
        cluster.kubectl("delete", "crd", *CRDS, "--ignore-not-found")
        shutil.rmtree(release.volumes, ignore_errors=True)


@dataclass
class Truth:
    """What one node's kernel counted and what the ledger holds, in microseconds of CPU, after all work ended."""

    kernel_us: dict[str, int] = field(default_factory=dict)
    booked_us: dict[str, int] = field(default_factory=dict)
    short_kernel_us: int = 0
    short_booked_us: dict[str, int] = field(default_factory=dict)


def _short(name: str, space: str, node: str) -> Manifest:
    manifest = node_vm.placed(pod(name, space, {"app": "short"}, BURN.format(seconds=2)), node)
    del manifest["spec"]["containers"][0]["resources"]  # type: ignore[index]
    return manifest


def _await_all_booked(release: Release, uids: list[str]) -> None:
    """Until two windows went by in which nothing more arrived of these pods."""
    last_us, since = 0, time.monotonic()

    def settled() -> bool:
        nonlocal last_us, since
        booked_us = sum(map(release.booked_cpu_us, uids))
        if booked_us - last_us >= 20_000:
            last_us, since = booked_us, time.monotonic()
        return last_us > 0 and time.monotonic() - since > 2 * WINDOW_S

    wait_for("the last window", settled, seconds=600)


def _come_and_go(release: Release, space: str, until: float) -> dict[str, list[str]]:
    """One short pod after the other on each node, as fast as it starts them; their names."""
    names: dict[str, list[str]] = {node: [] for node in NODES}

    def running(name: str) -> bool:
        phase = ("-o", "jsonpath={.status.phase}")
        return release.cluster.kubectl("-n", space, "get", f"pod/{name}", *phase).stdout != "Succeeded"

    while time.monotonic() < until:
        began = time.monotonic()
        for node, its in names.items():
            if not its or not running(its[-1]):
                its.append(f"short-{node}-{len(its)}")
                release.apply(_short(its[-1], space, node))
        time.sleep(max(0.0, SHORT_EVERY_S - (time.monotonic() - began)))  # the pace at which they come
    for node, its in names.items():
        wait_for(f"the last pod of {node}", lambda its=its: not running(its[-1]), seconds=300)
    return names


@pytest.fixture(scope="module")
def truth(two_nodes: Release, space: str) -> dict[str, Truth]:
    """Ten minutes: three pods of known load on each node, and pods of two seconds, each node's only BestEffort pods."""
    release, seconds = two_nodes, int(MINUTES * 60)
    began = {FIRST: besteffort_us(), SECOND: node_vm.counters().besteffort_us}
    for name, script in LOADS.items():
        manifests = (pod(f"{name}-{n}", space, {}, script.format(seconds=seconds) + "; sleep 7200") for n in NODES)
        release.apply(*(node_vm.placed(m, n) for m, n in zip(manifests, NODES, strict=True)))
    started = time.monotonic()
    names = _come_and_go(release, space, until=started + seconds)
    uids = {
        item["metadata"]["name"]: item["metadata"]["uid"]
        for item in release.cluster.get("-n", space, "pods")["items"]  # type: ignore[attr-defined]
    }
    _await_all_booked(release, list(uids.values()))
    second = node_vm.counters()
    found = {}
    for node in NODES:
        loads = {name: uids[f"{name}-{node}"] for name in LOADS}
        kernel = {n: release.pod_cpu_us(u) if node == FIRST else second.pods_us[u] for n, u in loads.items()}
        ended = besteffort_us() if node == FIRST else second.besteffort_us
        shorts = {name: uids[name] for name in names[node]}
        found[node] = Truth(
            kernel,
            {name: release.booked_cpu_us(uid) for name, uid in loads.items()},
            ended - began[node],
            {name: release.booked_cpu_us(uid) for name, uid in shorts.items()},
        )
    print("\n".join(f"{node}: {figures(its)}" for node, its in found.items()))
    return found


def figures(its: Truth) -> str:
    """The errors in a line, for the record."""
    errors = {
        name: f"{100 * (its.booked_us[name] - us) / us:+.3f} % of {us / 1e6:.1f} s"
        for name, us in its.kernel_us.items()
    }
    named = sum(its.short_booked_us.values()) / its.short_kernel_us
    of = f"{len(its.short_booked_us)} short pods, {100 * named:.2f} % of {its.short_kernel_us / 1e6:.1f} s by name"
    return f"errors {errors}; {of}"


def test_the_second_node_has_cgroup_v2_and_the_systemd_driver() -> None:
    assert node_vm.on_node("stat -f -c %T /sys/fs/cgroup").strip() == "cgroup2fs"
    assert node_vm.on_node("cat /proc/1/comm").strip() == "systemd"
    assert "kubepods-burstable.slice" in node_vm.on_node("ls /sys/fs/cgroup/kubepods.slice")


def test_the_agents_run_where_no_gpu_is_and_the_gpu_agent_does_not(two_nodes: Release) -> None:
    wanted = {
        item["metadata"]["name"]: item["status"]["desiredNumberScheduled"]
        for item in two_nodes.cluster.get("-n", AGENTS, "ds")["items"]  # type: ignore[attr-defined]
    }
    assert wanted == {"carbonbudget-agent": 1, "carbonbudget-agent-v2": 1, "carbonbudget-agent-gpu": 0}


@pytest.mark.parametrize("node", NODES)
def test_what_is_booked_of_a_pod_is_what_the_kernel_counted(truth: dict[str, Truth], node: str) -> None:
    its = truth[node]
    assert its.booked_us["rest"] < its.booked_us["part"] < its.booked_us["full"]
    for name in ("part", "full"):
        assert its.booked_us[name] == pytest.approx(its.kernel_us[name], rel=0.01), name


@pytest.mark.parametrize("node", NODES)
def test_pods_of_two_seconds_are_booked_under_their_names(truth: dict[str, Truth], node: str) -> None:
    its = truth[node]
    booked_us = sum(its.short_booked_us.values())
    assert 0.95 * its.short_kernel_us <= booked_us <= 1.001 * its.short_kernel_us, figures(its)
    assert [name for name, us in its.short_booked_us.items() if us == 0] == []
    assert len(its.short_booked_us) >= MINUTES / 2, "too few to compare: the machine was too busy"


def test_the_ledger_of_both_nodes_conserves_to_the_microjoule(two_nodes: Release, truth: dict[str, Truth]) -> None:
    assert "conserves to the microjoule" in two_nodes.carbonbudget("ledger", "check", *CONFIG).stdout


def test_the_shares_of_both_nodes_add_up_to_what_each_measured(two_nodes: Release, truth: dict[str, Truth]) -> None:
    days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() + day * 86_400)) for day in (-1, 1)]
    asked = ("allocate", *CONFIG, "-o", "json", "--from", days[0], "--to", days[1], "--group-by", "node,namespace")

    def shares() -> tuple[dict[str, int], dict[str, int], int] | None:
        """Measured, shared out and in total, of a moment in which no report arrived."""
        before = node_vm.measured_uj(two_nodes)
        answer = json.loads(two_nodes.carbonbudget(*asked).stdout)
        if node_vm.measured_uj(two_nodes) != before:
            return None
        borne: dict[str, int] = {}
        for row in answer["rows"]:
            borne[row["key"]["node"]] = borne.get(row["key"]["node"], 0) + row["energy_uj"]
        return before, borne, answer["total"]["energy_uj"]

    measured, borne, total = wait_for("a moment without reports", shares)
    assert set(measured) == set(NODES)
    assert all(measured.values())
    assert borne == measured
    assert total == sum(measured.values())


def test_an_agent_that_is_killed_and_a_restarted_kubelet_and_runtime_lose_nothing(
    two_nodes: Release, truth: dict[str, Truth], space: str
) -> None:
    seconds = 200  # longer than the kill and the restarts take
    two_nodes.apply(node_vm.placed(pod("steady", space, {}, BURN.format(seconds=seconds) + "; sleep 7200"), SECOND))
    two_nodes.cluster.kubectl("-n", space, "wait", "pod/steady", "--for=condition=Ready", "--timeout=120s")
    until, uid = time.monotonic() + seconds, two_nodes.uid(space, "pod/steady")
    wait_for("ten seconds of CPU", lambda: node_vm.counters().pods_us.get(uid, 0) > 10_000_000, 120)
    node_vm.kill_agent()
    for unit in ("kubelet", "containerd"):
        node_vm.on_node(f"systemctl restart {unit}")
    wait_for("the load to end", lambda: time.monotonic() > until, seconds + 1)
    _await_all_booked(two_nodes, [uid])
    assert two_nodes.booked_cpu_us(uid) == pytest.approx(node_vm.counters().pods_us[uid], rel=0.01)


def test_of_a_machine_that_was_killed_nothing_stays(cluster: Cluster) -> None:
    """The last test: the node is gone after it."""
    pids = Path(os.environ.get("CARBONBUDGET_CLUSTER_RUN_DIR") or "/run/carbonbudget-cluster") / "pids"
    pid = json.loads((pids / "node-vm.json").read_text())["pid"]
    os.kill(pid, 9)
    wait_for("its network device to go", lambda: not Path("/sys/class/net/cb-node-2").exists())
    node_vm.cluster_command("down")
    assert cluster.kubectl("get", "nodes", "-o", "name").stdout.split() == [f"node/{FIRST}"]
    assert not (pids / "node-vm.json").exists()
    assert not (cluster.kubeconfig.parent / "node-vm").exists()
