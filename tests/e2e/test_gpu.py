"""GPUs on the real kubelet: its own pod-resources socket, the real pynvml in the agent's container, a driver
that a scenario file scripts. Six pods hold devices in five ways; each one's joules are known beforehand.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import AGENTS, Release, pod, wait_for
from tests.e2e.device_plugin import DevicePlugin
from tests.gpu.driver import GPU_A, GPU_B, MIG_1, MIG_2, MIG_4, Driver, build

pytestmark = pytest.mark.cluster

GPU_C, GPU_D = GPU_A[:-1] + "c", GPU_A[:-1] + "d"
WATTS = {GPU_A: 300, GPU_B: 200, GPU_C: 140, GPU_D: 60}
HOLDERS = {
    "exclusive": "nvidia.com/gpu",
    "shared-1": "nvidia.com/gpu.shared",
    "shared-2": "nvidia.com/gpu.shared",
    "mig-small": "nvidia.com/mig-1g.5gb",
    "mig-large": "nvidia.com/mig-4g.20gb",
}


def _boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def _scenario(directory: Path) -> Driver:
    """Four GPUs: one exclusive, one time-sliced, one cut by MIG (two of seven slices free), one free."""
    driver = Driver(directory / "scenario")
    for index, (uuid, watts) in enumerate(WATTS.items()):
        driver.gpu(index, uuid, energy_mj=10**9, watts=watts, since_ms=_boot_ms(), busy=50)
    driver.set(2, mig=1, max_mig=7, busy=None)  # a GPU that is cut up tells no utilization
    driver.mig(2, 0, MIG_1, gi=1, parts=1)
    driver.mig(2, 1, MIG_4, gi=2, parts=4)
    driver.mig(2, 2, MIG_2, gi=3, parts=2)
    return driver


@pytest.fixture(scope="module")
def gpu_node(release: Release) -> Iterator[Release]:
    """The node with four GPUs, and the chart with its GPU agent on it; as before afterwards."""
    directory = release.volumes / "nvidia"
    (directory / "lib64").mkdir(parents=True, exist_ok=True)
    build(directory / "lib64")
    _scenario(directory / "lib64")
    resources = {
        "nvidia.com/gpu": [GPU_A, GPU_D],
        "nvidia.com/gpu.shared": [f"{GPU_B}::0", f"{GPU_B}::1"],
        "nvidia.com/mig-1g.5gb": [MIG_1],
        "nvidia.com/mig-4g.20gb": [MIG_4],
    }
    node = release.cluster.kubectl("get", "nodes", "-o", "name").stdout.split()[0]
    plugins: list[DevicePlugin] = []
    try:
        plugins += [DevicePlugin(resource, ids) for resource, ids in resources.items()]
        release.cluster.kubectl("label", node, "nvidia.com/gpu.present=true", "--overwrite")
        kubelet = release.volumes.parent / "kubelet" / "pod-resources"
        release.helm(
            "--set", "agent.gpu.enabled=true", "--set", "agent.gpu.access=driverHostPath",
            "--set", f"agent.gpu.driverHostPath={directory}", "--set", f"agent.gpu.podResourcesHostPath={kubelet}",
            "--set", "agent.gpu.extraEnv[0].name=NVML_SCENARIO",
            "--set", "agent.gpu.extraEnv[0].value=/usr/local/nvidia/lib64/scenario",
        )  # fmt: skip
        release.cluster.kubectl("-n", AGENTS, "rollout", "status", "ds/carbonbudget-agent-gpu", "--timeout=180s")
        yield release
    finally:
        for plugin in plugins:
            plugin.stop()
        release.cluster.kubectl("label", node, "nvidia.com/gpu.present-")
        release.helm()


@pytest.fixture(scope="module")
def holders(gpu_node: Release, space: str) -> str:
    """A namespace with the pods that hold the GPUs, running."""
    for name, resource in HOLDERS.items():
        manifest = pod(name, space, {"app": name}, "sleep 3600")
        (container,) = manifest["spec"]["containers"]  # type: ignore[index]
        container["resources"]["limits"][resource] = "1"
        wait_for(f"{resource} to be offered", lambda m=manifest: gpu_node.create(m)[0] == 0 or None)
    for name in HOLDERS:
        gpu_node.cluster.kubectl("-n", space, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
    return space


def _joules(release: Release, space: str) -> dict[str, dict[str, float]]:
    """What the ledger holds of each pod by GPU, held idle included."""
    with sqlite3.connect(f"file:{release.volumes}/ledger/ledger.db?mode=ro", uri=True) as ledger:
        query = """SELECT name, domain, sum(energy_uj + idle_uj) FROM pod_energy JOIN pod ON pod.id = pod_id
                   WHERE namespace = ? AND domain LIKE 'gpu:%' GROUP BY name, domain"""
        rows = ledger.execute(query, (space,)).fetchall()
    ledger.close()
    found: dict[str, dict[str, float]] = {}
    for name, domain, energy_uj in rows:
        found.setdefault(name, {})[domain.removeprefix("gpu:")] = energy_uj / 1e6
    return found


def test_each_holder_has_the_energy_of_what_it_holds(gpu_node: Release, holders: str) -> None:
    """Over some windows: the growth of each pod's joules is its watts times the time between."""

    def all_seen() -> dict[str, dict[str, float]] | None:
        found = _joules(gpu_node, holders)
        return found if found.keys() >= HOLDERS.keys() else None

    first = wait_for("every holder to have energy", all_seen, seconds=60)
    (exclusive,) = first["exclusive"]  # one of two whole GPUs: the kubelet chose

    def grown() -> dict[str, dict[str, float]] | None:
        found = _joules(gpu_node, holders)
        gained = found["exclusive"][exclusive] - first["exclusive"][exclusive]
        return found if gained > 25 * WATTS[exclusive] else None  # three windows

    second = wait_for("three more windows", grown, seconds=90)
    gained = {name: sum(second[name].values()) - sum(first[name].values()) for name in HOLDERS}
    seconds = gained["exclusive"] / WATTS[exclusive]
    watts = {name: joules / seconds for name, joules in gained.items()}
    # Two shares of one GPU that nobody can tell apart are halves.
    assert (watts["shared-1"], watts["shared-2"]) == pytest.approx((WATTS[GPU_B] / 2, WATTS[GPU_B] / 2), rel=0.01)
    # One slice and four: both kinds of energy are shared by slices, and two free slices idle for the node.
    assert watts["mig-large"] == pytest.approx(4 * watts["mig-small"], rel=0.01)
    assert WATTS[GPU_C] * 5 / 7 < watts["mig-small"] + watts["mig-large"] < WATTS[GPU_C]


def test_the_ledger_conserves_with_gpus(gpu_node: Release, holders: str) -> None:
    assert "conserve" in gpu_node.carbonbudget("ledger", "check").stdout


def test_the_plain_agent_leaves_a_gpu_node_to_the_gpu_agent(gpu_node: Release) -> None:
    found = gpu_node.cluster.kubectl(
        "-n", AGENTS, "get", "pods", "-l", "app.kubernetes.io/component=agent", "-o", "name"
    )
    assert found.stdout.strip() == ""


def test_the_gpu_agent_holds_no_capability(gpu_node: Release) -> None:
    status = gpu_node.cluster.kubectl(
        "-n", AGENTS, "exec", "ds/carbonbudget-agent-gpu", "--", "cat", "/proc/1/status"
    ).stdout
    sets = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
    assert set(sets.values()) == {"0000000000000000"}, sets
