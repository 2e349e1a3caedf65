"""The agent on a real node: what it may do there, and whether its figures are the kernel's, short pods included."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from tests.e2e.conftest import AGENTS, CGROUPS, WINDOW_SECONDS, Release, pod, wait_for

pytestmark = pytest.mark.cluster

SHORT_PODS = 16
# Tries to write wherever the host's /sys is seen: a directory in each, and a byte into each kind of file.
INTRUDER = r"""
import os, pathlib
mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
places = [m for m in mounts if m.startswith(("/sys", "/host"))]
done = []
for place in places:
    for directory, names, files in os.walk(place):
        try:
            os.mkdir(f"{directory}/carbonbudget-was-here"); done.append(directory)
        except OSError: pass
        for name in files[:3]:
            try:
                os.close(os.open(f"{directory}/{name}", os.O_WRONLY)); done.append(f"{directory}/{name}")
            except OSError: pass
        if directory.count("/") > 6: names.clear()
print(len(places), done)
"""


def _inside(release: Release, *command: str) -> str:
    return release.cluster.kubectl("-n", AGENTS, "exec", "ds/carbonbudget-agent", "--", *command).stdout.strip()


def test_from_inside_the_agent_nothing_of_the_nodes_sys_can_be_written(release: Release) -> None:
    places, done = _inside(release, "python3", "-c", INTRUDER).split(" ", 1)
    assert int(places) >= 4
    assert done == "[]"


def test_the_agent_holds_no_capability_and_sees_no_process_of_the_node(release: Release) -> None:
    status = _inside(release, "cat", "/proc/1/status").splitlines()
    sets = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Cap")}
    assert len(sets) == 5
    assert set(sets.values()) == {"0000000000000000"}
    assert len([name for name in _inside(release, "ls", "/proc").split() if name.isdigit()]) < 5


def test_the_ledger_knows_what_the_node_offers_as_the_node_object_says(release: Release) -> None:
    (node,) = release.cluster.get("nodes")["items"]  # type: ignore[misc,attr-defined] # JSON
    offered = node["status"]["allocatable"]
    assert offered["memory"].endswith("Ki")
    wanted = (int(offered["cpu"]) * 1000, int(offered["memory"].removesuffix("Ki")) * 1024)
    wait_for("the node's facts", lambda: release.node_offers() == wanted)


BURN = "end=$(($(date +%s)+{seconds})); while [ $(date +%s) -lt $end ]; do :; done"
THEN_REST = "; sleep 3600"
LOADS = {"full": BURN.format(seconds=20) + THEN_REST, "less": BURN.format(seconds=5) + THEN_REST, "rest": "sleep 3600"}


@dataclass(frozen=True)
class Truth:
    """What the kernel counted and what the ledger holds, in microseconds of CPU, after all work ended."""

    kernel_us: dict[str, int]
    booked_us: dict[str, int]
    short_kernel_us: int
    short_booked_us: int


def besteffort_us() -> int:
    """CPU time of all BestEffort pods that ever were, by their parent."""
    paths = [*CGROUPS.glob("cpuacct/**/besteffort/cpuacct.usage"), *CGROUPS.glob("**/*besteffort.slice/cpu.stat")]
    text = paths[0].read_text()
    return int(text) // 1000 if paths[0].name == "cpuacct.usage" else int(text.split()[1])


@pytest.fixture(scope="module")
def truth(release: Release, space: str) -> Truth:
    """Three pods of known load, and sixteen that live two seconds: the node's only BestEffort pods."""
    began = besteffort_us()
    release.apply(*(pod(name, space, {"load": name}, script) for name, script in LOADS.items()))
    shorts = [f"short-{n}" for n in range(SHORT_PODS)]
    for name in shorts:
        manifest = pod(name, space, {"app": "short"}, BURN.format(seconds=2))
        del manifest["spec"]["containers"][0]["resources"]  # type: ignore[index]
        release.apply(manifest)
        time.sleep(1)  # the pace at which they come, so that some live at once and some alone
    done = "--for=jsonpath={.status.phase}=Succeeded"
    for name in shorts:
        release.cluster.kubectl("-n", space, "wait", f"pod/{name}", done, "--timeout=120s")
    loads = {name: release.uid(space, f"pod/{name}") for name in LOADS}
    short = [release.uid(space, f"pod/{name}") for name in shorts]

    last_us, since = 0, time.monotonic()

    def settled() -> bool:
        """Whether two windows went by in which nothing more arrived."""
        nonlocal last_us, since
        booked_us = sum(map(release.booked_cpu_us, (*short, *loads.values())))
        if booked_us - last_us >= 20_000:
            last_us, since = booked_us, time.monotonic()
        return last_us > 0 and time.monotonic() - since > 2 * WINDOW_SECONDS

    wait_for("the last window", settled, seconds=120)
    return Truth(
        {name: release.pod_cpu_us(uid) for name, uid in loads.items()},
        {name: release.booked_cpu_us(uid) for name, uid in loads.items()},
        besteffort_us() - began,
        sum(map(release.booked_cpu_us, short)),
    )


def test_what_is_booked_of_a_pod_is_what_the_kernel_counted(truth: Truth) -> None:
    assert truth.booked_us["rest"] < truth.booked_us["less"] < truth.booked_us["full"]
    for name in ("less", "full"):
        assert truth.booked_us[name] == pytest.approx(truth.kernel_us[name], rel=0.01), name


def test_pods_of_two_seconds_are_booked_under_their_names(truth: Truth) -> None:
    assert 0.95 * truth.short_kernel_us <= truth.short_booked_us <= 1.001 * truth.short_kernel_us, truth
